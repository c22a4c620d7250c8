"""Seconds of a frame by this checkout and by an earlier commit, code and shipped weights of each, in turns.

    python benchmarks/speed_against_commit.py COMMIT

The sources of COMMIT are unpacked into a temporary folder. Each side is a process of its own, so that nothing
is shared but the machine; while one takes its block of frames the other waits. See README.md for the method.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import common

# Run by either side with its own sources first on the path; only what sessions have had from the start.
WORKER = """
import sys, time
import cv2, numpy as np, torch
from stremn import SegmentationSession, from_pretrained

mask, side, width, precision, threads, *files = sys.argv[1:]
size = (int(width), int(side))
torch.set_num_threads(int(threads))
mask = cv2.resize(np.load(mask), size, interpolation=cv2.INTER_NEAREST)
frames = [cv2.resize(cv2.imread(f), size, interpolation=cv2.INTER_AREA)[..., ::-1].copy() for f in files]
model = from_pretrained("stremn-lite")
session = SegmentationSession(model, size=int(side), precision=precision, device="cpu")
there = 0
session.step(frames[0], mask)
for line in sys.stdin:
    begun = time.perf_counter()
    for _ in range(int(line)):
        there += 1
        at = there % (2 * len(frames) - 2)
        session.step(frames[min(at, 2 * len(frames) - 2 - at)])
    print((time.perf_counter() - begun) / int(line), flush=True)
"""


def main() -> None:
    args = parse()
    record = common.describe_run(args.threads, "wall")
    record["settings"] = {
        "against": git("rev-parse", args.commit).decode().strip(),
        "precision": args.precision,
        "blocks": args.blocks,
        "block": args.block,
        "warm_up_frames": args.warm_up,
    }
    record["results"] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(fileobj=io.BytesIO(git("archive", args.commit, "src"))) as sources:
            sources.extractall(folder, filter="data")
        source, mask = common.default_source()
        files = common.unpack(source, folder, 40)
        record["settings"]["source"] = source.name
        single = common.first_mask(mask, single=True)
        for objects in args.objects:
            np.save(folder / "mask.npy", split(single, objects))
            record["results"] += [
                {"objects": objects} | compare(side, files, folder, args) for side in args.sides
            ]
    common.publish("speed_against_commit", args.out, record, table(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="of this repository, with weights of stremn-lite")
    parser.add_argument("--blocks", type=int, default=20, help="turns of each side")
    parser.add_argument("--block", type=int, default=5, help="frames of a turn")
    parser.add_argument("--warm-up", type=int, default=26, help="frames before; 26 fill the memory")
    parser.add_argument("--sides", type=int, nargs="+", default=[480, 240], choices=list(common.WIDTHS))
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--precision", default="fp32", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=common.ROOT / "docs" / "research" / "measured")
    return parser.parse_args()


def split(mask: np.ndarray, objects: int) -> np.ndarray:
    """An object cut into so many upright parts of the same width, each an object of its own."""
    columns = np.flatnonzero(mask.any(axis=0))
    edges = np.linspace(columns[0], columns[-1] + 1, objects + 1).round()[1:-1]
    return (mask * (1 + np.digitize(np.arange(mask.shape[1]), edges))).astype(np.uint8)


def git(*words: str) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(common.ROOT), *words], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"git {' '.join(words)} failed ({error}): is that a commit of this repository?")


class Side:
    """One version of the code in a process of its own."""

    def __init__(
        self, sources: Path, side: int, files: list[Path], folder: Path, args: argparse.Namespace
    ) -> None:
        numbers = map(str, (side, common.WIDTHS[side], args.precision, args.threads))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder / "mask.npy"), *numbers, *map(str, files)],
            env=os.environ | {"PYTHONPATH": str(sources)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def take(self, frames: int) -> float:
        """Seconds of a frame, mean of a block."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{frames}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit("one of the sides ended; what it said stands above")
        return float(answer)


def compare(side: int, files: list[Path], folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Both on one frame size, in blocks that take turns."""
    before, now = (Side(path, side, files, folder, args) for path in (folder / "src", common.ROOT / "src"))
    pairs = []
    try:
        for each in (before, now):
            each.take(args.warm_up)
        for turn in range(args.blocks):
            order = (before, now) if turn % 2 else (now, before)
            seconds = {each: each.take(args.block) for each in order}
            pairs.append((seconds[before], seconds[now]))
    finally:
        for each in (before, now):
            each.process.kill()
    ratios = sorted(b / a for a, b in pairs)
    return {
        "frame": [common.WIDTHS[side], side],
        "milliseconds": {
            "before": round(1000 * statistics.median(a for a, _ in pairs), 1),
            "now": round(1000 * statistics.median(b for _, b in pairs), 1),
        },
        "ratio": {
            "median": round(statistics.median(ratios), 3),
            "quarters": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]],
        },
        "seconds_of_blocks": [[round(x, 5) for x in pair] for pair in pairs],
    }


def table(record: dict[str, Any]) -> str:
    lines = [
        "| frame | objects | ms a frame before | now | now / before (middle half of the turns) |",
        "|---|---|---|---|---|",
    ]
    for row in record["results"]:
        low, high = row["ratio"]["quarters"]
        lines.append(
            f"| {row['frame'][0]}x{row['frame'][1]} | {row['objects']} "
            f"| {row['milliseconds']['before']:.1f} | "
            f"{row['milliseconds']['now']:.1f} | **{row['ratio']['median']:.2f}** ({low:.2f}-{high:.2f}) |"
        )
    settings = record["settings"]
    lines += ["", f"Before: commit {settings['against'][:10]}. {settings['precision']}."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
