"""What is printed, on any terminal and whatever a file is called."""

import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_runs import run
from PIL import Image
from rich.console import Console

from stremn.commands import console
from stremn.commands.console import FrameProgress, count_files, printable

NAME = "walk [dQw4] [bold]x :smile:"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Stderr as a terminal of 100 columns."""
    shown = io.StringIO()
    notes = Console(file=shown, force_terminal=True, width=100, markup=False, emoji=False, highlight=False)
    monkeypatch.setattr(console, "notes", notes)
    return shown


def test_a_terminal_gets_a_bar(terminal: io.StringIO) -> None:
    with FrameProgress(NAME, 3) as bar:
        for _ in range(3):
            bar.advance()
    shown = terminal.getvalue()
    assert NAME in shown
    assert "3/3" in shown
    assert "frames/s" in shown
    assert "\x1b" in shown


def test_a_bar_of_files(terminal: io.StringIO) -> None:
    with count_files("looking") as show:
        show(NAME, 2, 5)
    assert NAME in terminal.getvalue()
    assert "2/5" in terminal.getvalue()


def test_the_clock_stops_with_the_last_frame() -> None:
    with FrameProgress("walk", None) as bar:
        bar.advance()
    seconds, rate = bar.seconds, bar.rate
    time.sleep(0.01)
    assert (bar.seconds, bar.rate) == (seconds, rate)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\n lines\r\nand  two blanks", "two lines and  two blanks"),
        ("caf\udce9.mp4", r"caf\udce9.mp4"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("ünï 走 👣 é", "ünï 走 👣 é"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_the_log_is_printed_as_it_is(weights: Path, mask: Path, tmp_path: Path) -> None:
    source = tmp_path / NAME
    source.mkdir()
    for index in range(2):
        Image.fromarray(np.full((64, 96, 3), 90 + index, np.uint8)).save(source / f"{index}.png")
    (source / "1.png").write_text("damaged")
    done = run(
        "segment", source, "--masks", mask, "--out", tmp_path / "out", "--model", weights, "--size", 48
    )
    assert done.status == 0, done.err
    assert f"{NAME}: 1/2 frames" in done.err
    assert f"warning: {source / '1.png'}" in done.err
    assert logging.getLogger("stremn").handlers == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_that_the_encoding_lacks(encoding: str, tmp_path: Path) -> None:
    """Scores of folders whose names are no UTF-8, or not in the terminal's encoding."""
    for place in ("truth", "predictions"):
        for name in (b"caf\xe9 [1]", "走".encode()):
            folder = os.fsencode(tmp_path / place) + b"/" + name
            os.makedirs(folder)
            for index in range(3):
                labels = np.pad(np.ones((4, 4), np.uint8), 9)
                with open(folder + b"/%05d.png" % index, "wb") as file:
                    Image.fromarray(labels).save(file, format="PNG")
    command = [sys.executable, "-m", "stremn", "score", tmp_path / "predictions", tmp_path / "truth"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    shown = done.stdout.decode(encoding)
    assert r"caf\udce9 [1]" in shown
    assert ("走" if encoding == "utf-8" else r"\u8d70") in shown
    assert not done.stderr
