"""What the benchmarks share: the record of a run, real frames, the model, and where figures go."""

import datetime
import os
import platform
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stremn import StremnError, __version__, create_model, from_pretrained
from stremn.commands.demo import sample_mask, sample_video
from stremn.files import open_source, read_mask, write_json
from stremn.files.images import read_image
from stremn.files.names import image_files
from stremn.models import model_names

ROOT = Path(__file__).resolve().parents[1]
SEQUENCE = "bear"

WIDTHS = {480: 854, 240: 428}
"""Frame sizes that speeds are compared at: width by height."""

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def add_options(parser: ArgumentParser) -> None:
    """Options that every benchmark has."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="cpu counts the processor time of all threads: for trials on a machine that is busy",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "research" / "measured")


def open_model(name: str) -> tuple[Any, str]:
    """A model and ``"trained"``, or ``"random"`` where its weights do not ship; time is the same."""
    try:
        return from_pretrained(name), "trained"
    except StremnError:
        if name not in model_names():
            raise
        torch.manual_seed(0)
        return create_model(name).eval(), "random"


def describe_run(threads: int, clock: str) -> dict[str, Any]:
    """Machine, date, commit, versions and command; no path of the machine."""
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
        },
        "commit": git_commit(ROOT),
        "versions": {
            "stremn": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "threads": threads,
        "clock": clock,
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(_shown, sys.argv[1:])]),
    }


def _shown(argument: str) -> str:
    return f"<...>/{Path(argument).name}" if Path(argument).is_absolute() else argument


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def git_commit(folder: Path) -> str:
    """Commit of a checkout, with ``-dirty`` if code differs from it; ``"unknown"`` without git."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def default_source() -> tuple[Path, Path]:
    """Frames and first mask of a DAVIS sequence where the data is at hand, else the demo's."""
    data = Path(os.environ.get("STREMN_DATA", ROOT.parent / "shared" / "data")) / "DAVIS2016"
    frames = data / "JPEGImages" / "480p" / SEQUENCE
    masks = data / "Annotations" / "480p" / SEQUENCE
    if frames.is_dir() and masks.is_dir():
        return frames, image_files(masks)[0]
    return sample_video(), sample_mask()


def unpack(source: Path, folder: Path, most: int) -> list[Path]:
    """Files of the first ``most`` frames: the folder's own, or a video's as PNG files in ``folder``."""
    if source.is_dir():
        return image_files(source)[:most]
    with open_source(source) as frames:
        for frame in islice(frames, most):
            Image.fromarray(frame.image).save(folder / f"{frame.index:05d}.png", compress_level=1)
    return image_files(folder)


def forth_and_back(files: list[Path]) -> Iterator[np.ndarray]:
    """Frames without end, each read from disk when its turn comes."""
    while True:
        for file in [*files, *files[-2:0:-1]]:
            yield read_image(file).pixels


def first_mask(path: Path, *, single: bool = False) -> np.ndarray:
    """Label map ``(H, W)``; ``single`` keeps only the largest object, as id 1."""
    labels = read_mask(path).labels
    if not single:
        return labels
    sizes = np.bincount(labels.ravel(), minlength=2)
    return (labels == 1 + sizes[1:].argmax()).astype(np.uint8)


def publish(name: str, out: Path, record: dict[str, Any], table: str) -> None:
    """Write ``NAME.json`` into ``out``, and the table between the marks of ``results.md`` beside ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    record["machine"]["load_average_at_end"] = [round(load, 2) for load in os.getloadavg()]
    write_json(out / f"{name}.json", record)
    machine = record["machine"]
    commit, *dirty = record["commit"].split("-")
    commit = "-".join([commit[:10], *dirty])
    notes = (
        f"{record['date'][:10]}, {machine['cpu']}, {machine['cores']} cores, threads: {record['threads']}, "
        f"{record['clock']} time, torch {record['versions']['torch']}, commit {commit}; "
        f"`{record['command']}`"
    )
    print(f"\n{table}\n\n{notes}")
    page = out.resolve().parent / "results.md"
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        page.write_text(f"{before}{begin}{table}\n\n{notes}\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")
