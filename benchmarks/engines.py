"""PyTorch and ONNX Runtime on the same frames, in turns: equal labels, and time a frame on one thread.

    stremn onnx step.onnx --frame 640x360 --size 240
    python benchmarks/engines.py step.onnx FRAMES MASK

Time is what the process was computing, so that other processes change it little.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from stremn import OnnxSession, SegmentationSession
from stremn.files import MaskSchedule, open_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("graph", type=Path)
    parser.add_argument("source")
    parser.add_argument("masks", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--model", default="stremn-lite")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    onnx = OnnxSession(args.graph, threads=1)
    sessions = {
        "torch": SegmentationSession(args.model, size=onnx.facts["shorter"], device="cpu", precision="fp32"),
        "onnx": onnx,
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    equal = []
    with open_source(args.source) as frames:
        masks = MaskSchedule(args.masks, frames.frame_names)
        for frame in islice(frames, args.frames):
            given, found = masks.at(frame), []
            for name, session in sessions.items():
                start = time.process_time()
                found.append(session.step(frame.image, given).labels)
                times[name].append(1000 * (time.process_time() - start))
            equal.append(float(np.mean(found[0] == found[1])))
    report = {
        "frames": len(equal),
        "equal": round(float(np.mean(equal)), 6),
        "equal in the worst frame": round(min(equal), 6),
        # The first frames lay out weights and have no slot to read.
        "ms a frame": {name: round(median(each[2:]), 1) for name, each in times.items()},
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
