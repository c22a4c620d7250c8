"""Bad input (section 6 of the issue): one line that names file and remedy, status 2, nothing half-written."""

import contextlib
import errno
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import (
    BAD_INPUT,
    NOWHERE,
    Run,
    Task,
    assert_complete_files_only,
    assert_refused,
    run,
)
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from small_data import frame, write_frames, write_video
from stremn import sessions
from stremn.commands import main
from stremn.models import model_names

# Sources -----------------------------------------------------------------------------------------------


def _missing(tmp: Path) -> tuple[Path, str]:
    path = tmp / "none.mp4"
    return (
        path,
        f"source '{path}' does not exist: give a video file, a folder of frames, a URL, or camera:0",
    )


def _empty_file(tmp: Path) -> tuple[Path, str]:
    path = tmp / "empty.mp4"
    path.touch()
    return path, f"{path} is empty: give a video file, or a folder of frames"


def _empty_folder(tmp: Path) -> tuple[Path, str]:
    path = tmp / "frames"
    path.mkdir()
    return path, f"folder {path} is empty: give a folder of JPEG or PNG frames, or a video file"


def _folder_of_texts(tmp: Path) -> tuple[Path, str]:
    path = tmp / "frames"
    path.mkdir()
    (path / "readme.txt").write_text("no frames here")
    return path, f"folder {path} holds no image: give a folder of JPEG or PNG frames, or a video file"


def _still(tmp: Path) -> tuple[Path, str]:
    path = tmp / "still.png"
    Image.fromarray(frame(0)).save(path)
    return path, f"{path} is a still image: give a video file, or the folder of frames"


@pytest.mark.parametrize("make", [_missing, _empty_file, _empty_folder, _folder_of_texts, _still])
def test_source(make: Callable[[Path], tuple[Path, str]], task: Task, tmp_path: Path) -> None:
    source, message = make(tmp_path)
    out = tmp_path / "out"
    assert_refused(run(*task.args(source, out, NOWHERE)), message, out)


def test_not_a_video(task: Task, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "text.mp4", tmp_path / "out"
    source.write_text("this is a text file with a wrong name\n" * 50)
    done = run(*task.args(source, out, NOWHERE))
    message = (
        f"{source} is not a video, or is cut off before its index: give a video file, or a folder of frames"
    )
    assert_refused(done, message, out)
    assert capfd.readouterr() == ("", ""), "nor do libraries in C print anything"


def test_frame_size_changes(task: Task, tmp_path: Path) -> None:
    source, out = write_frames(tmp_path / "frames", ["1.png", "2.png", "3.png"]), tmp_path / "out"
    Image.fromarray(frame(2, 48, 80)).save(source / "3.png")
    done = run(*task.args(source, out))
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1] == (
        "stremn: frame 3 of frames is 80x48, frame 1 is 96x64: scale all frames to one size, "
        "or split the source there"
    )
    assert_complete_files_only(out)


def test_damaged_in_the_middle(task: Task, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "hurt.mp4", 30, g="5", bf="0"), tmp_path / "out"
    data = bytearray(source.read_bytes())
    middle = slice(len(data) * 4 // 10, len(data) * 5 // 10)
    data[middle] = np.random.default_rng(1).bytes(middle.stop - middle.start)
    source.write_bytes(data)
    done = run(*task.args(source, out))
    assert done.status == 0, done.err
    said = [line for line in done.err.splitlines() if line.startswith("warning: hurt.mp4: ")]
    assert len(said) == 1
    lost = int(said[0].split()[2])
    summary = json.loads((out / "summary.json").read_text())
    assert lost == summary["lost_frames"] > 0
    if task.name == "segment":
        assert lost + len(list((out / "masks").iterdir())) == 30
    else:
        compared = [f["frame_index"] for f in summary["by_frame"] if f["prediction"] is not None]
        assert 0 < len(compared) < 28
        assert max(compared) < 30
        assert len(list((out / "frames").iterdir())) == 38
    assert said[0].endswith("frames could not be decoded and are left out")


# Outputs -----------------------------------------------------------------------------------------------


def test_output_is_a_file(task: Task, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    out.write_text("something of the user's")
    done = run(*task.args(video, out, NOWHERE))
    assert (done.status, done.err) == (BAD_INPUT, f"stremn: output {out} is a file: give a folder\n")
    assert out.read_text() == "something of the user's"


def test_output_cannot_be_written(task: Task, video: Path, tmp_path: Path) -> None:
    # Below a file no folder can be made, not even by root, to whom permissions mean nothing.
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    done = run(*task.args(video, out))
    # What was observed before is counted on a line of its own.
    last = Run(done.status, done.out, done.err.splitlines(keepends=True)[-1])
    assert_refused(last, f"cannot write {out} (Not a directory): choose a folder that you may write to", out)


def test_output_is_a_link_to_itself(task: Task, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "loop"
    out.symlink_to(out)
    done = run(*task.args(video, out))
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1].startswith(f"stremn: cannot write {out} (")


def test_output_is_the_folder_of_the_frames(task: Task, tmp_path: Path) -> None:
    source = write_frames(tmp_path / "frames", ["1.png", "2.png", "memory.png", "strip.png"])
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    done = run(*task.args(source, source, NOWHERE), "--overwrite")
    assert done.status == BAD_INPUT
    assert done.err == f"stremn: {source} lies where the outputs go: choose another output folder\n"
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_an_entry_that_cannot_be_replaced_is_named(task: Task, video: Path, tmp_path: Path) -> None:
    entry = tmp_path / "out" / "summary.json"
    entry.mkdir(parents=True)
    done = run(*task.args(video, tmp_path / "out"), "--overwrite")
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1].startswith(f"stremn: cannot write {entry} (Is a directory): ")


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nobody_reads_the_messages(task: Task, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with contextlib.redirect_stderr(_Full()):
        assert main([str(argument) for argument in task.args(video, out)]) == 0
    assert json.loads((out / "summary.json").read_text())


# Models and settings -----------------------------------------------------------------------------------


def _truncated(path: Path, good: Path) -> str:
    path.write_bytes(good.read_bytes()[:-1000])
    return f"{path}: not a readable safetensors file ("


def _foreign(path: Path, good: Path) -> str:
    save_file({"layer.weight": torch.zeros(3)}, path)
    return f"{path}: a safetensors file of something else; use one that save_pretrained wrote"


def _pickled(path: Path, good: Path) -> str:
    torch.save({"layer.weight": torch.zeros(3)}, path)
    return f"{path}: not a readable safetensors file ("


def _empty(path: Path, good: Path) -> str:
    path.touch()
    return f"{path}: not a readable safetensors file ("


def _came_apart(path: Path, good: Path) -> str:
    tensors = load_file(good)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = float("nan")
    with safe_open(good, "pt") as file:
        save_file(tensors, path, file.metadata())
    return (
        f"{path}: '{name}' holds what are no weights (not numbers, or infinite): the training came apart, or"
    )


@pytest.mark.parametrize("make", [_truncated, _foreign, _pickled, _empty, _came_apart])
def test_weights(make: Callable[[Path, Path], str], task: Task, video: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "bad.safetensors", tmp_path / "out"
    message = make(path, task.weights)
    done = run(*task.args(video, out, path))
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"stremn: {message}")
    assert done.err.rstrip().endswith(("use one that save_pretrained wrote", "give other weights"))
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_unknown_model(task: Task, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(*task.args(video, out, "stremn-huge"))
    names = ", ".join(model_names())
    message = f"unknown model 'stremn-huge': neither one of {names} nor a file that exists"
    assert_refused(done, message, out)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("policy", "best", "unknown policy 'best': choose one of learned, oldest, newest"),
        ("slots", 1, "--slots 1 is too few: at least 2, for the first and for the latest frame"),
        ("size", -8, "--size -8 is not from 0 to 8192: give pixels of the shorter side, or 0"),
        ("size", 100000, "--size 100000 is not from 0 to 8192: give pixels of the shorter side, or 0"),
        ("candidate-every", 0, "--candidate-every 0 is too few: give 1 for every frame, or more"),
        ("device", "abacus", "device 'abacus' cannot be used here: choose auto, cpu, cuda or mps"),
        ("device", "meta", "device 'meta' cannot be used here: choose auto, cpu, cuda or mps"),
        ("precision", "fp4", "unknown precision 'fp4': choose auto, fp32, bf16, fp16"),
    ],
)
def test_settings(option: str, value: object, message: str, video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", NOWHERE, f"--{option}", value)
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"stremn: {message}")
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_out_of_memory(task: Task, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch says it, on a GPU and on a CPU; any other error of the kind is our fault, and shows."""
    out = tmp_path / "out"

    def run_with(error: Exception) -> Run:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        for name in ("SegmentationSession", "PredictionSession"):
            monkeypatch.setattr(sessions, name, fail)
        return run(*task.args(video, out))

    said = "out of memory: give a smaller --size, fewer --slots or fewer objects"
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"),
        MemoryError(),
    ):
        assert_refused(run_with(error), said, out)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_with(RuntimeError("a fault of ours"))


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("segment", ("--masks", "x")),
        ("segment", ("--masks", "x", "--out", "x", "--slots", "many")),
        ("segment", ("--what",)),
        ("predict", ("--out", "x", "--horizon", "1")),
        ("predict", ("--out", "x", "--observe", "1")),
        ("predict", ("--observe", "1", "--horizon", "1")),
        ("predict", ("--observe", "1", "--horizon", "some", "--out", "x")),
        ("predict", ("--masks",)),
    ],
)
def test_usage_errors(
    command: str, args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(command, "video.mp4", *args)
    assert done.status == BAD_INPUT
    assert re.fullmatch(f"stremn: [^\n]+; see 'stremn {command} --help'\n", done.err)
    assert not list(tmp_path.iterdir())
