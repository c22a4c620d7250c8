"""Frames per second of a session, on any device: what a user may expect.

Every frame waits for the device, as in a live video. ``python benchmarks/frames_per_second.py --help`` lists
the options.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from itertools import islice, product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import common
from stremn import SegmentationSession


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    common.add_options(parser)
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", nargs="+", default=["auto"], choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 5])
    parser.add_argument(
        "--sides", type=int, nargs="+", default=list(common.WIDTHS), choices=list(common.WIDTHS)
    )
    parser.add_argument("--frames", type=int, default=100, help="frames that are timed")
    parser.add_argument("--warm-up", type=int, default=30, help="frames before; 26 fill the memory")
    return parser.parse_args()


def in_stripes(mask: np.ndarray, objects: int) -> np.ndarray:
    """The object of a mask ``(h, w)`` cut into upright stripes of equal area, each an object."""
    ys, xs = np.nonzero(mask)
    edges = np.quantile(xs, np.arange(1, objects) / objects)
    labels = np.zeros_like(mask)
    labels[ys, xs] = 1 + np.searchsorted(edges, xs)
    return labels


def measure(
    session: SegmentationSession, frames: list[np.ndarray], labels: np.ndarray, clock: Callable[[], float]
) -> list[float]:
    """Seconds of each frame ``(h, w, 3)`` after the first, whose objects are given ``(h, w)``."""
    session.step(frames[0], labels)
    seconds = []
    for frame in frames[1:]:
        began = clock()
        # Labels lie in the main memory, so nothing is left to wait for.
        _ = session.step(frame).labels
        seconds.append(clock() - began)
    return seconds


def main() -> None:
    """Measure every combination and publish."""
    args = parse()
    torch.set_num_threads(args.threads)
    model, _ = common.open_model(args.model)
    source, mask_file = common.default_source()
    count = args.warm_up + args.frames + 1
    with tempfile.TemporaryDirectory() as folder:
        files = common.unpack(source, Path(folder), count)
        pictures = list(islice(common.forth_and_back(files), count))
    mask = common.first_mask(mask_file, single=True)
    rows = []
    for side, objects, precision in product(args.sides, args.objects, args.precision):
        size = common.WIDTHS[side], side
        frames = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
        labels = in_stripes(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), objects)
        session = SegmentationSession(model, size=side, device=args.device, precision=precision)
        seconds = sorted(measure(session, frames, labels, common.CLOCKS[args.clock])[args.warm_up :])
        quarter = len(seconds) // 4
        rows.append(
            {
                "frame": list(size),
                "objects": objects,
                "device": session.runtime.device.type,
                "dtype": str(session.runtime.dtype).removeprefix("torch."),
                "frames_per_second": round(1 / statistics.median(seconds), 1),
                "middle_half": [round(1 / seconds[-1 - quarter], 1), round(1 / seconds[quarter], 1)],
            }
        )
        print(rows[-1], flush=True)
    record = {**common.describe_run(args.threads, args.clock), "rows": rows}
    if torch.cuda.is_available():
        record["machine"]["gpu"] = torch.cuda.get_device_name()
    common.publish("frames_per_second", args.out, record, table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| frame | objects | device | dtype | frames/s (middle half) |", "|---|---|---|---|---|"]
    for row in rows:
        (width, height), (low, high) = row["frame"], row["middle_half"]
        lines.append(
            f"| {width}x{height} | {row['objects']} | {row['device']} | {row['dtype']} | "
            f"**{row['frames_per_second']}** ({low}-{high}) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
