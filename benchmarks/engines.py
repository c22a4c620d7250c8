"""PyTorch and ONNX Runtime on the same frames, in turns: equal labels, and time a frame on one thread.

    stremn onnx step.onnx --frame 640x360 --size 240
    python benchmarks/engines.py step.onnx FRAMES MASK
    python benchmarks/engines.py step.onnx FRAMES MASK --only onnx --frames 2000

A source that is too short is shown again and again. Time is what the process was computing, so that other
processes change it little. Of one engine alone, early and late frames are told apart, and memory.
"""

import argparse
import json
import time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import psutil
import torch

from stremn import OnnxSession, SegmentationSession
from stremn.files import MaskSchedule, open_source

MOST = 100
"""Frames of the source that are held."""

WINDOW = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("graph", type=Path)
    parser.add_argument("source")
    parser.add_argument("masks", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--only", choices=("torch", "onnx"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    onnx = OnnxSession(args.graph, threads=1)
    sessions = {
        "torch": SegmentationSession(
            args.model,
            size=onnx.facts["shorter"],
            device="cpu",
            precision="fp32",
            search_region=False,
            associate=False,
        ),
        "onnx": onnx,
    }
    if args.only:
        sessions = {args.only: sessions[args.only]}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    equal, resident, state = [], [], []
    with open_source(args.source) as frames:
        held = list(islice(frames, MOST))
        given = MaskSchedule(args.masks, frames.frame_names).at(held[0])
    for frame in islice(cycle(held), args.frames):
        found = []
        for name, session in sessions.items():
            start = time.process_time()
            found.append(session.step(frame.image, given).labels)
            times[name].append(1000 * (time.process_time() - start))
            state.append(session.state_bytes)
        given = None
        equal.append(float(np.mean(found[0] == found[-1])))
        resident.append(psutil.Process().memory_info().rss / 2**20)
    report = {
        "frames": len(equal),
        # The first frames lay out weights and have no slot to read.
        "ms a frame": {name: round(median(each[2:]), 1) for name, each in times.items()},
    }
    if args.only:
        each = times[args.only]
        early, late = median(each[WINDOW : 2 * WINDOW]), median(each[-WINDOW:])
        report |= {
            "late / early": round(late / early, 3),
            "resident MB, early and late": [
                round(resident[min(WINDOW, len(resident) - 1)], 1),
                round(resident[-1], 1),
            ],
            "state bytes": sorted(set(state)),
        }
    else:
        report |= {"equal": round(float(np.mean(equal)), 6), "equal in the worst frame": round(min(equal), 6)}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
