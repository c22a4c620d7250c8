"""Seconds until help is printed, against an empty app of the same library, and until the first frame.

Commands take turns, so that what else the machine does falls on all alike; each figure is a median.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

EMPTY = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
COMMANDS = ("", "segment", "predict", "demo", "score", "evaluate", "table", "train", "ablate", "data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument(
        "--source", type=Path, help="src folder of another tree, to be timed in turns with this one"
    )
    asked = parser.parse_args()
    trees = {"this tree": None} | ({"the other tree": asked.source} if asked.source else {})
    python = [sys.executable, "-c"]
    trials = {"an empty app --help": ([*python, EMPTY, "--help"], None)}
    for name, tree in trees.items():
        stremn = [sys.executable, "-m", "stremn"]
        for words in (f"{command} --help".split() for command in COMMANDS):
            trials[f"{name}: stremn {' '.join(words)}"] = ([*stremn, *words], tree)
        trials[f"{name}: stremn --version"] = ([*stremn, "--version"], tree)
    seconds: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(asked.runs):
        for name, (command, tree) in trials.items():
            began = time.perf_counter()
            subprocess.run(command, env=_environment(tree), check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    empty = statistics.median(seconds["an empty app --help"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name}: {median:.2f} s, {median / empty:.1f} times an empty app")
    first: dict[str, list[float]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        source, mask = _frames(Path(folder))
        for turn in range(3):
            for name, tree in trees.items():
                out = Path(folder) / f"{turn}-{name}"
                first[name].append(_seconds_to_the_first_mask(source, mask, out, tree))
    for name, found in first.items():
        print(f"{name}: {statistics.median(found):.1f} s until the first mask of ten frames of 854x480")


def _environment(tree: Path | None) -> dict[str, str]:
    return {**os.environ} if tree is None else {**os.environ, "PYTHONPATH": str(tree)}


def _frames(folder: Path) -> tuple[Path, Path]:
    """Ten frames of a bright square on noise, and the mask of the first."""
    source, mask = folder / "frames", folder / "first.png"
    source.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        image = rng.integers(0, 60, (480, 854, 3), np.uint8)
        image[150:300, 100 + 20 * index : 300 + 20 * index] = 220
        Image.fromarray(image).save(source / f"{index:05d}.jpg")
    labels = np.zeros((480, 854), np.uint8)
    labels[150:300, 100:300] = 1
    Image.fromarray(labels).save(mask)
    return source, mask


def _seconds_to_the_first_mask(source: Path, mask: Path, out: Path, tree: Path | None) -> float:
    command = [sys.executable, "-m", "stremn", "segment", source, "--masks", mask, "--out", out]
    began = time.perf_counter()
    with subprocess.Popen(command, env=_environment(tree), stdout=subprocess.DEVNULL) as process:
        while not (out / "masks" / "00000.png").exists():
            if process.poll() is not None:
                sys.exit(f"{command} ended with {process.returncode} before its first mask")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        process.wait()
    return seconds


if __name__ == "__main__":
    main()
