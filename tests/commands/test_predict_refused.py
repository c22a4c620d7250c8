"""What ``stremn predict`` refuses beyond what every command does, and what it then leaves."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command_runs import BAD_INPUT, assert_complete_files_only, assert_refused, run
from PIL import Image

from small_data import frame, write_frames
from stremn.commands.console import Interrupted, Stop
from stremn.commands.predict import Asked, predict_source
from stremn.files import PredictionFolder, open_source
from stremn.models import checkpoint
from stremn.sessions import PredictionSession


def _segmentation_model(tmp: Path, video: Path, weights: Path) -> tuple[tuple[object, ...], str]:
    return (video, "--observe", 2, "--horizon", 2, "--model", weights), (
        f"model '{weights}': a LiteSegmenter where a Predictor is needed; "
        "use a segmentation model to segment and a prediction model to predict"
    )


def _no_observation(tmp: Path, video: Path, weights: Path) -> tuple[tuple[object, ...], str]:
    return (video, "--observe", 0, "--horizon", 2), "--observe 0 is too few: give 1 frame or more"


def _no_horizon(tmp: Path, video: Path, weights: Path) -> tuple[tuple[object, ...], str]:
    return (video, "--observe", 2, "--horizon", 0), "--horizon 0 is too few: give 1 frame or more"


def _before_the_start(tmp: Path, video: Path, weights: Path) -> tuple[tuple[object, ...], str]:
    return (video, "--observe", 2, "--horizon", 2, "--start", -1), (
        "--start -1 is before the video: its first frame is 0"
    )


def _size(tmp: Path, video: Path, weights: Path) -> tuple[tuple[object, ...], str]:
    return (video, "--observe", 2, "--horizon", 2, "--size", -1), (
        "--size -1 is not from 0 to 8192: give pixels of the shorter side, or 0 for the video's own"
    )


@pytest.mark.parametrize(
    "make",
    [_segmentation_model, _no_observation, _no_horizon, _before_the_start, _size],
)
def test_refused(
    make: Callable[[Path, Path, Path], tuple[tuple[object, ...], str]],
    weights: Path,
    video: Path,
    tmp_path: Path,
) -> None:
    args, message = make(tmp_path, video, weights)
    done = run("predict", *args, "--out", tmp_path / "out")
    assert (done.status, done.err, done.out) == (BAD_INPUT, f"stremn: {message}\n", "")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("observe", "first", "left"), [(9, 0, 8), (3, 6, 2), (1, 8, 0)])
def test_too_short(observe: int, first: int, left: int, predictor: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ("--observe", observe, "--start", first, "--horizon", 2, "--out", out, "--model", predictor)
    done = run("predict", video, *args)
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1] == (
        f"stremn: eight.mp4 has {left} frames from frame {first} on, of {observe} to observe: "
        "give a longer video, or a smaller --observe or --start"
    )
    assert not out.exists()


@pytest.mark.parametrize("changed", [1, 3])
def test_frame_size_changes(changed: int, predictor: Path, tmp_path: Path) -> None:
    """While it observes nothing is left; while it compares, what was predicted is complete."""
    source, out = write_frames(tmp_path / "frames", ["0.png", "1.png", "2.png", "3.png"]), tmp_path / "out"
    Image.fromarray(frame(2, 48, 80)).save(source / f"{changed}.png")
    done = run("predict", source, "--observe", 2, "--horizon", 2, "--out", out, "--model", predictor)
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1] == (
        f"stremn: frame {changed} of frames is 80x48, frame 0 is 96x64: scale all frames to one size, "
        "or split the source there"
    )
    assert out.exists() == (changed == 3)
    assert_complete_files_only(out)


def test_the_source_is_never_overwritten(predictor: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = write_frames(out / "frames", ["0.png", "1.png", "2.png"])
    args = ("--observe", 2, "--horizon", 1, "--out", out, "--overwrite", "--model", predictor)
    done = run("predict", source, *args)
    assert done.status == BAD_INPUT
    assert done.err == f"stremn: {source} lies where the outputs go: choose another output folder\n"
    assert len(list(source.iterdir())) == 3


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("policy", "best", "unknown policy 'best': choose one of learned, oldest, newest"),
        ("slots", 0, ""),
        ("size", 100000, "--size 100000 is not from 0 to 8192: give pixels of the shorter side, or 0"),
        ("device", "abacus", "device 'abacus' cannot be used here: choose auto, cpu, cuda or mps"),
        ("precision", "fp4", "unknown precision 'fp4': choose auto, fp32, bf16, fp16"),
    ],
)
def test_settings(
    option: str, value: object, message: str, predictor: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    args = ("--observe", 2, "--horizon", 2, "--out", out, "--model", predictor, f"--{option}", value)
    done = run("predict", video, *args)
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"stremn: {message}")
    assert option in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_a_package_without_weights(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path)
    out = tmp_path / "out"
    done = run("predict", video, "--observe", 2, "--horizon", 2, "--out", out)
    message = "model 'stremn-motion': no trained weights ship with this package; give a file"
    assert_refused(done, message, out)


def test_interrupted_before_anything_was_predicted(predictor: Path, video: Path, tmp_path: Path) -> None:
    stop, out = Stop(), tmp_path / "out"
    stop.number = signal.SIGINT
    session = PredictionSession(predictor, device="cpu")
    with open_source(video) as frames, pytest.raises(Interrupted):
        predict_source(frames, PredictionFolder(out), session, Asked(4, 4), stop)
    assert not out.exists()
