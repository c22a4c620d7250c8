r"""How much a click mends: IoU of masks that a tracker found, and after one to three points on them.

    python benchmarks/mending.py DATA/DAVIS2016 DATA/DAVIS2017 --sequences hockey,...,schoolgirls \
        --model benchmarks/weights/stremn-lite-held-out.safetensors

Masks are those of a small size, so that enough of them are wrong: of each sequence a few with an IoU of
0.2 to 0.9, at even distances. A point is set in the middle of the largest region that is wrong, as in
`prompts.py`; in the last column the same points show the object without its mask.
"""

import argparse
from pathlib import Path

import numpy as np

from common import add_options, describe_run, publish
from stremn import SegmentationSession, StremnError
from stremn.commands.options import DataOptions
from stremn.files.images import read_image
from stremn.files.masks import read_ids
from stremn.metrics import region_similarity
from stremn.prompts import prompt_mask
from train_prompts import worst

COLUMNS = ("as followed", "1 point", "2 points", "3 points", "3 points alone")
EACH, POINTS = 6, 3
WRONG = (0.2, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--sequences")
    args = parser.parse_args()
    record = describe_run(args.threads, "cpu")
    wanted = None if args.sequences is None else set(args.sequences.split(","))
    videos = [video for data in args.data for video in DataOptions(data=[data]).videos()[1]]
    scores: dict[str, list[list[float]]] = {}
    for video in (v for v in videos if wanted is None or v.name in wanted):
        session, found = SegmentationSession(args.model, size=args.size), []
        for index, frame in enumerate(video.frames):
            image, true = read_image(frame).pixels, read_ids(Path(str(video.mask_of(frame))))
            labels = session.step(image, true if index == 0 else None).labels
            for i in (i for i in np.unique(true) if index and 0 < i < 255):
                if WRONG[0] < region_similarity(labels == i, true == i) < WRONG[1]:
                    found.append((image, labels == i, true == i))
        scores[video.name] = [mended(*case) for case in found[:: max(1, len(found) // EACH)]]
        print(video.name, *np.mean(scores[video.name], axis=0).round(3), flush=True)
    means = np.array([np.mean(of, axis=0) for of in scores.values() if of])
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    total = [f"**{m:.3f}** ± {e:.3f}" for m, e in zip(means.mean(axis=0), error)]
    masks = sum(map(len, scores.values()))
    table = ["| IoU | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    table.append(f"| {masks} masks of {len(means)} sequences, mean ± standard error | {' | '.join(total)} |")
    publish("mending", args.out, record | {"iou": scores}, "\n".join(table))


def mended(image: np.ndarray, before: np.ndarray, truth: np.ndarray) -> list[float]:
    """IoU of each of `COLUMNS`."""
    points: list[tuple[float, float, bool]] = []
    mask, found = before, [region_similarity(before, truth)]
    for _ in range(POINTS):
        if (wrong := worst(mask, truth)) is not None:
            points.append((float(wrong[0][1]), float(wrong[0][0]), wrong[1]))
            mask = prompt_mask(image, points=points, before=mask)
        found.append(region_similarity(mask, truth))
    try:
        alone = prompt_mask(image, points=points)
    except StremnError:  # all of them are beside the object
        alone = np.zeros_like(before)
    return [*found, region_similarity(alone, truth)]


if __name__ == "__main__":
    main()
