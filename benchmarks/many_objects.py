"""Fifty small discs at once on the corners of a real video: which are without a pixel after some frames.

Where a corner goes is told by optical flow forward and back. A corner whose flow does not come back, or that
leaves the frame, as where the ground is hidden or water moves, says nothing of its disc.
"""

import time
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from stremn import SegmentationSession
from stremn.data import Video, play, read_videos

COUNT, APART = 50, 46
"""Discs, and pixels between the middles of two at least."""

RIM, OFF = 30, 1.5
"""Pixels to the edge of the frame at first, and from which the flow back misses a corner."""


def measure(
    session: SegmentationSession, video: Video, frames: int, radius: int
) -> tuple[int, int, int, float]:
    """Corners to be seen, how many of these discs have no pixel, how many hold theirs; seconds a frame."""
    images = [shown.image for shown in islice(play(video, 0), frames + 1)]
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    size = np.array(grey[0].shape)
    inside = np.pad(np.ones(size - 2 * RIM, np.uint8), RIM)
    corners = cv2.goodFeaturesToTrack(grey[0], COUNT, 0.001, APART, mask=inside)
    labels, told = np.zeros(size, np.uint8), np.ones(len(corners), bool)
    for number, (x, y) in enumerate(corners[:, 0].astype(int).tolist()):
        cv2.circle(labels, (x, y), radius, number + 1, -1)
    session.reset()
    session.step(images[0], labels)
    seconds = []
    for before, now, image in zip(grey, grey[1:], images[1:], strict=False):
        flow = {"nextPts": None, "winSize": (25, 25)}
        moved = cv2.calcOpticalFlowPyrLK(before, now, corners, **flow)[0]
        back = cv2.calcOpticalFlowPyrLK(now, before, moved, **flow)[0]
        told &= (np.abs(back - corners) < OFF).all(axis=(1, 2))
        told &= ((moved >= 6) & (moved < size[::-1] - 6)).all(axis=(1, 2))
        corners, start = moved, time.process_time()
        labels = session.step(image).labels
        seconds.append(time.process_time() - start)
    numbers = np.flatnonzero(told)
    gone = sum(not (labels == n + 1).any() for n in numbers)
    held = sum(labels[y, x] == n + 1 for n, (x, y) in zip(numbers, corners[told, 0].astype(int), strict=True))
    return len(numbers), gone, int(held), float(np.median(seconds))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder in DAVIS layout")
    parser.add_argument("--sequences", required=True, help="names, with commas")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--size", type=int, default=480, help="internal resolution")
    parser.add_argument("--frames", type=int, default=10, help="frames after the first")
    parser.add_argument("--radius", type=int, default=12, help="of the discs, in pixels of the video")
    args = parser.parse_args()
    torch.set_num_threads(1)
    session = SegmentationSession(args.model, size=args.size, device="cpu")
    wanted = args.sequences.split(",")
    for video in read_videos(args.root):
        if video.name in wanted:
            seen, gone, held, seconds = measure(session, video, args.frames, args.radius)
            print(
                f"{video.name}: {seen} to be seen, {gone} gone, {held} hold it, {seconds:.2f} s", flush=True
            )


if __name__ == "__main__":
    main()
