"""A small object followed in a square crop that goes along with it, in place of the whole frame.

The side of the crop is six times the square root of the area of the object in the first mask, its centre that
of the latest mask; all crops have the internal size of the session. Only the first object is followed.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import torch

from stremn import SegmentationSession
from stremn.data import Video, play, read_videos
from stremn.metrics import SequenceScorer

TIMES, LEAST = 6, 96
"""Side of the crop in square roots of the object's area, and the least one in pixels."""


def follow(session: SegmentationSession, video: Video) -> float:
    """J&F of a sequence in percent; where the object is lost, the crop stays."""
    session.reset()
    scorer, side = SequenceScorer(video.name), 0
    for frame in play(video, 0):
        truth = np.uint8(frame.truth == 1)
        size = np.array(truth.shape)
        if not side:
            side = int(min(size.min(), max(LEAST, TIMES * truth.sum() ** 0.5)))
            centre = np.argwhere(truth).mean(axis=0)
        top, left = np.clip(centre - side / 2, 0, size - side).astype(int)
        part = slice(top, top + side), slice(left, left + side)
        given = None if session.object_ids else truth[part].copy()
        labels = np.zeros_like(truth)
        labels[part] = session.step(frame.image[part].copy(), given).labels
        if labels.any():
            centre = np.argwhere(labels).mean(axis=0)
        scorer.update(labels, truth)
    return 100 * scorer.result()[0].j_and_f


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="DAVIS-layout folder, as hard-a of the choosing set")
    parser.add_argument("--sequences", required=True, help="names, with commas")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--size", type=int, default=240, help="internal resolution of the crop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    session = SegmentationSession(args.model, size=args.size)
    wanted = args.sequences.split(",")
    for video in read_videos(args.root):
        if video.name in wanted:
            print(video.name, round(follow(session, video), 1), flush=True)


if __name__ == "__main__":
    main()
