"""Running the command: in this process for speed, or as a real process."""

import contextlib
import io
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_data import decode
from stremn import SegmentationSession
from stremn.commands import main

BAD_INPUT, INTERRUPTED = 2, 130

NOWHERE = "no-such-weights.safetensors"
"""Errors that come before this one was noticed came before the model was loaded."""


@dataclass(frozen=True)
class Run:
    """What a command left behind."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Task:
    """A command of one task: its name, what it needs beside a source, weights, and where its pictures go."""

    name: str
    needs: tuple[object, ...]
    weights: Path
    pictures: str

    def args(self, source: object, out: Path, model: object = None) -> tuple[object, ...]:
        return (self.name, source, *self.needs, "--out", out, "--model", model or self.weights)


def run(*args: object) -> Run:
    """The command in this process; anything but bad input raises through."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(a) for a in args])
    return Run(status, out.getvalue(), err.getvalue())


def start(*args: object) -> subprocess.Popen[str]:
    """The command as a process of its own, not on a terminal."""
    command = [sys.executable, "-m", "stremn", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_process(*args: object) -> Run:
    with start(*args) as process:
        out, err = process.communicate(timeout=600)
    return Run(process.returncode, out, err)


def assert_refused(done: Run, message: str, out: Path) -> None:
    assert done.err == f"stremn: {message}\n"
    assert done.status == BAD_INPUT
    assert done.out == ""
    assert not out.exists()


def read_masks(folder: Path) -> dict[str, np.ndarray]:
    """The masks of an output folder by name, checked to be palette PNGs."""
    masks = {}
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "P")
            masks[path.stem] = np.array(image)
    return masks


def assert_complete_files_only(out: Path) -> None:
    """Everything in an output folder opens, and nothing is left of unfinished files."""
    files = [path for path in out.rglob("*") if path.is_file()] if out.exists() else []
    assert not [path for path in files if path.name.startswith(".") or path.suffix == ".part"]
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".mp4":
            assert decode(path)[0]


def interrupt_at(
    frame: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT
) -> list[SegmentationSession]:
    """A signal at the frame of that number, from 1, once; gives the session of every frame that was begun."""
    step, begun, told = SegmentationSession.step, list[SegmentationSession](), False

    def interrupted(session: SegmentationSession, *given: object, **named: object) -> object:
        nonlocal told
        begun.append(session)
        if len(begun) == frame and not told:
            told = True
            signal.raise_signal(number)
        return step(session, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentationSession, "step", interrupted)
    return begun
