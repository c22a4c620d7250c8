"""``stremn predict`` from end to end, with a small untrained model."""

import importlib.util
import itertools
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, run
from PIL import Image

from small_data import HEIGHT, RATE, WIDTH, decode, frame, write_frames
from stremn import PredictionSession, create_model, save_pretrained
from stremn.models import checkpoint
from stremn.models.motion import MotionPredictor

MOTION = {"width": 4, "key_dim": 4, "update_dim": 4}
NOTHING = 48
"""Level of a panel without truth."""


def read_frames(out: Path) -> dict[int, np.ndarray]:
    found = {}
    for path in (out / "frames").iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            found[int(path.stem)] = np.array(image)
    return dict(sorted(found.items()))


def summary_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())


def mse(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(one.astype(float) / 255 - other.astype(float) / 255).mean())


def test_a_video(predictor: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    args = ("--observe", 3, "--horizon", 4, "--start", 1, "--precision", "fp32")
    done = run("predict", video, *args, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    assert done.out.startswith("4 frames predicted, PSNR ")
    assert str(out) in done.out
    assert done.err.splitlines()[-1].startswith("eight.mp4: 8/8 frames, ")
    assert {p.name for p in out.iterdir()} == {"frames", "side-by-side.mp4", "strip.png", "summary.json"}
    assert_complete_files_only(out)

    truth = decode(video)[0]
    session = PredictionSession(predictor, precision="fp32", device="cpu")
    for seen in truth[1:4]:
        session.observe(seen)
    frames = read_frames(out)
    assert list(frames) == [4, 5, 6, 7]
    # The command decodes with OpenCV, `decode` with FFmpeg's scaler: a level apart.
    assert np.abs(np.stack(list(frames.values())).astype(int) - session.predict(4)).mean() < 2

    summary = summary_of(out)
    assert summary["frames"] == 4
    assert summary["observed_frames"] == {"first": 1, "last": 3}
    assert summary["predicted_frames"] == {"first": 4, "last": 7}
    assert summary["state_bytes"] == session.state_bytes > 0
    assert summary["seconds_per_step"]["predict"] > 0
    assert summary["interrupted"] is False
    assert [f["ahead"] for f in summary["by_frame"]] == [1, 2, 3, 4]
    for found in summary["by_frame"]:
        index, scores = found["frame_index"], found["prediction"]
        assert scores["mse_pixel"] == pytest.approx(mse(frames[index], truth[index]), rel=0.1)
        assert scores["psnr"] == pytest.approx(-10 * np.log10(scores["mse_pixel"]))
        assert 0 < scores["ssim"] < 1
        assert found["copy_last"]["mse_pixel"] == pytest.approx(mse(truth[3], truth[index]), rel=0.1)
    for kind, name in (("prediction", "means"), ("copy_last", "means_of_copying_the_last_frame")):
        for figure, mean in summary[name].items():
            assert mean == pytest.approx(np.mean([f[kind][figure] for f in summary["by_frame"]]))


def test_the_weights_of_the_package_are_the_default(
    predictor: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(predictor, tmp_path / "stremn-motion.safetensors")
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path)
    found = []
    for name, args in (("default", ()), ("named", ("--model", predictor))):
        out = tmp_path / name
        done = run("predict", video, "--observe", 2, "--horizon", 2, "--out", out, *args)
        assert done.status == 0, done.err
        found.append(np.stack(list(read_frames(out).values())))
    assert np.array_equal(*found)
    assert summary_of(tmp_path / "default")["settings"]["model"] == "stremn-motion"


def test_what_the_pictures_show(predictor: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("predict", video, "--observe", 5, "--horizon", 5, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    shown, rate = decode(out / "side-by-side.mp4")
    frames, truth = read_frames(out), decode(video)[0]
    assert (len(shown), rate) == (5, RATE)
    height, width = 2 * HEIGHT, 2 * WIDTH  # enlarged, so that titles fit
    panels = [[f[-height:, (width + 4) * k :][:, :width].astype(int) for k in range(3)] for f in shown]
    for k, index in enumerate(range(5, 8)):
        for panel, image in ((panels[k][0], truth[index]), (panels[k][1], frames[index])):
            assert np.abs(panel - image.repeat(2, axis=0).repeat(2, axis=1)).mean() < 8
        off = (
            np.abs(frames[index].astype(int) - truth[index]).mean(axis=2).repeat(2, axis=0).repeat(2, axis=1)
        )
        brightness = panels[k][2].mean(axis=2)
        assert np.corrcoef(brightness.ravel(), off.ravel())[0, 1] > 0.9
    for k in (3, 4):  # beyond the end
        assert np.abs(panels[k][0] - NOTHING).mean() < 3
        assert np.abs(panels[k][2] - NOTHING).mean() < 3
        assert np.abs(panels[k][1] - frames[5 + k].repeat(2, axis=0).repeat(2, axis=1)).mean() < 8

    with Image.open(out / "strip.png") as image:
        strip = np.array(image)
    rows, columns = 5 * height + 22 + 4 * 4, 5 * width + 4 * 4  # cells twice the size too, a title, gaps
    assert strip.shape[0] == rows
    cells = strip[:, -columns:].astype(int)
    exact = frames[5].repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(cells[26 + height : 26 + 2 * height, :width], exact)
    off = np.abs(exact.astype(int) - cells[22 : 22 + height, :width]).mean(axis=2)
    brightness = cells[30 + 2 * height : 30 + 3 * height, :width].mean(axis=2)
    assert np.corrcoef(brightness.ravel(), off.ravel())[0, 1] > 0.9
    assert np.abs(cells[22 : 22 + height, :width] - truth[5].repeat(2, axis=0).repeat(2, axis=1)).mean() < 2
    assert (cells[22 : 22 + height, -width:] == NOTHING).all()
    by_frame = summary_of(out)["by_frame"]
    assert [f["prediction"] is None for f in by_frame] == [False, False, False, True, True]


def test_the_strip_shows_where_a_model_reads_its_frames(video: Path, tmp_path: Path) -> None:
    model = create_model("stremn-motion", **MOTION, slots=2)
    weights, out = save_pretrained(model, tmp_path / "motion.safetensors"), tmp_path / "out"
    done = run("predict", video, "--observe", 4, "--horizon", 2, "--out", out, "--model", weights)
    assert done.status == 0, done.err
    with Image.open(out / "strip.png") as image:
        strip = np.array(image)
    height, width = 2 * HEIGHT, 2 * WIDTH
    assert strip.shape[0] == 5 * height + 22 + 4 * 4
    # Untrained it reads the latest frame, at the displacement that the video has.
    shown, read = strip[-4 * height - 12 : -3 * height - 12, -width:], strip[-height:, -width:]
    assert np.ptp(read.astype(int), axis=2).max() < 12
    assert np.abs(read.mean(axis=2) - 0.7 * shown.mean(axis=2)).max() < 6
    session = PredictionSession(weights)
    for seen in decode(video)[0][:4]:
        session.observe(seen)
    rollout = session.rollout()
    next(rollout)
    way, shares = rollout.read_from()
    assert (way.shape, shares.shape) == ((HEIGHT, WIDTH, 2), (HEIGHT, WIDTH, 3))
    first = strip[-2 * height - 4 : -height - 4, -2 * width - 4 : -width - 4]
    length = np.hypot(way[..., 0], way[..., 1])
    moving = length > 0.5 * length.max()
    assert first[::2, ::2][moving].max(axis=1).mean() > first[::2, ::2][~moving].max(axis=1).mean() + 40


def test_all_of_it_beyond_the_end(predictor: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("predict", video, "--observe", 8, "--horizon", 20, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    assert done.out == f"20 frames predicted; see {out}\n"
    assert list(read_frames(out)) == list(range(8, 28))
    assert summary_of(out)["means"] is None
    shown = decode(out / "side-by-side.mp4")[0]
    assert len(shown) == 20
    assert shown[0].shape[1] == 2 * WIDTH, "only the prediction"


def test_a_lost_frame_keeps_its_number(predictor: Path, tmp_path: Path) -> None:
    source, out = write_frames(tmp_path / "shots", [f"shot{i}.png" for i in range(8, 15)]), tmp_path / "out"
    (source / "shot12.png").write_text("damaged")
    done = run("predict", source, "--observe", 3, "--horizon", 4, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    assert "shot12.png cannot be read and is skipped" in done.err
    summary, frames = summary_of(out), read_frames(out)
    assert list(frames) == [3, 4, 5, 6]
    assert summary["lost_frames"] == 1
    for found in summary["by_frame"]:
        index = found["frame_index"]
        assert (found["prediction"] is None) == (index == 4)
        if index != 4:
            assert found["prediction"]["mse_pixel"] == pytest.approx(mse(frames[index], frame(index)))


@pytest.mark.parametrize("by_model", [False, True])
def test_grey(by_model: bool, predictor: Path, grey_predictor: Path, tmp_path: Path) -> None:
    source, out = write_frames(tmp_path / "frames", [f"{i}.png" for i in range(4)]), tmp_path / "out"
    weights = grey_predictor if by_model else predictor
    args = ("--model", weights) if by_model else ("--model", weights, "--grey")
    done = run("predict", source, "--observe", 2, "--horizon", 2, "--out", out, *args)
    assert done.status == 0, done.err
    frames, summary = read_frames(out), summary_of(out)
    assert {f.shape for f in frames.values()} == {(HEIGHT, WIDTH)}
    assert summary["settings"]["grey"] is True
    luma = np.array(Image.fromarray(frame(2)).convert("L"))
    assert summary["by_frame"][0]["prediction"]["mse_pixel"] == pytest.approx(mse(frames[2], luma), rel=0.02)


def test_every_option_reaches_the_session(predictor: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = {"observe": 2, "horizon": 1, "start": 3, "policy": "oldest", "slots": 1, "size": 48}
    chosen |= {"device": "cpu", "precision": "fp32"}
    given = [x for key, value in chosen.items() for x in (f"--{key}", value)]
    done = run("predict", video, *given, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    expected = chosen | {
        "source": str(video),
        "model": str(predictor),
        "grey": False,
        "architecture": "motion",
    }
    assert summary_of(out)["settings"] == expected


def test_without_torchmetrics_there_is_no_ssim(
    predictor: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torchmetrics" else real(name)
    )
    out = tmp_path / "out"
    done = run("predict", video, "--observe", 2, "--horizon", 1, "--out", out, "--model", predictor)
    assert done.status == 0, done.err
    assert set(summary_of(out)["means"]) == {"mse_pixel", "psnr"}


def test_overwrite_replaces_earlier_outputs_and_nothing_else(
    predictor: Path, video: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "frames").mkdir(parents=True)
    (out / "frames" / "99999.png").touch()
    (out / "notes.txt").write_text("mine")
    args = ("predict", video, "--observe", 2, "--horizon", 2, "--out", out, "--model", predictor)
    refused = run(*args)
    assert refused.status == BAD_INPUT
    assert refused.err == f"stremn: output folder {out} is not empty: empty it, or set 'overwrite'\n"
    assert run(*args, "--overwrite").status == 0
    assert list(read_frames(out)) == [2, 3]
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(
    number: int, predictor: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict, steps = MotionPredictor.predict, itertools.count(1)

    def interrupted(model: MotionPredictor, *given: object) -> object:
        if next(steps) == 12:
            signal.raise_signal(number)
        return predict(model, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(MotionPredictor, "predict", interrupted)
    out = tmp_path / "out"
    done = run("predict", video, "--observe", 2, "--horizon", 10**6, "--out", out, "--model", predictor)
    assert done.status == 128 + number
    assert number != signal.SIGINT or done.status == INTERRUPTED
    assert done.err.splitlines()[-1] == "stremn: interrupted; the files written so far are complete"
    assert_complete_files_only(out)
    summary = summary_of(out)
    assert summary["interrupted"] is True
    assert len(read_frames(out)) == len(decode(out / "side-by-side.mp4")[0]) == summary["frames"] == 12
    assert (out / "strip.png").exists()
