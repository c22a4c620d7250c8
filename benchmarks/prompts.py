r"""How good the masks of `stremn.prompts` are: IoU from the box of the true mask, and after more points.

    python benchmarks/prompts.py DATA/DAVIS2016 --frames 5 \
        --sequences dance-jump,drift-turn,kite-walk,soccerball

Every sequence gives frames at even distances, from the first on. A box is moved on every side by up to a
tenth of its size for the second column; a point is set in the middle of the largest region that is wrong.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from common import add_options, describe_run, publish
from stremn.commands.options import DataOptions
from stremn.files.images import read_image
from stremn.files.masks import read_ids
from stremn.metrics import region_similarity
from stremn.prompts import prompt_mask
from train_prompts import worst

COLUMNS = ("box", "box, moved", "box and 1 point", "box and 2 points", "1 point", "3 points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_options(parser)
    parser.add_argument("data")
    parser.add_argument("--sequences")
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--name", default="prompts", help="of the record, and of the marks in results.md")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    _, videos = DataOptions(data=[args.data], sequences=args.sequences).videos()
    scores: dict[str, dict[str, list[float]]] = {}
    spent: list[float] = []
    record = describe_run(args.threads, "cpu")
    for video in videos:
        found: dict[str, list[float]] = defaultdict(list)
        places = np.linspace(0, len(video.annotated), args.frames, endpoint=False).astype(int)
        for index in (video.annotated[place] for place in places):
            image, mask = read_image(video.frames[index]).pixels, video.mask_of(video.frames[index])
            labels = read_ids(Path(str(mask)))
            for object_id in (i for i in np.unique(labels) if 0 < i < 255):
                if (labels == object_id).sum() >= 50:
                    tried = scores_of(image, labels == object_id, rng, spent)
                    for column, score in zip(COLUMNS, tried):
                        found[column].append(score)
        scores[video.name] = dict(found)
        print(video.name, *(f"{np.mean(found[column]):.3f}" for column in COLUMNS), flush=True)
    rows = [[name, *(np.mean(found[c]) for c in COLUMNS)] for name, found in scores.items()]
    means = np.array([row[1:] for row in rows], float)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else 0 * means[0]
    table = ["| IoU | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    table += [f"| `{name}` | " + " | ".join(f"{v:.3f}" for v in values) + " |" for name, *values in rows]
    total = " | ".join(f"**{m:.3f}** ± {e:.3f}" for m, e in zip(means.mean(axis=0), error))
    table.append(f"| mean of sequences ± standard error | {total} |")
    record |= {"iou": scores, "cpu_seconds_each": round(float(np.median(spent)), 3)}
    publish(args.name, args.out, record, "\n".join(table))
    print(f"{np.median(spent):.3f} s of processor time each")


def scores_of(
    image: np.ndarray, truth: np.ndarray, rng: np.random.Generator, spent: list[float]
) -> list[float]:
    """IoU of each of `COLUMNS`."""
    y, x = np.nonzero(truth)
    left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
    moves = rng.uniform(-0.1, 0.1, 4) * np.array([right - left, bottom - top] * 2)
    ends = np.array([left, top, right, bottom]) + moves
    tight = (left, top, right - left, bottom - top)

    def mask(points: list[tuple[float, float, bool]], box: tuple[float, ...] | None = None) -> np.ndarray:
        begun = time.process_time()
        found = prompt_mask(image, box=box, points=points)
        spent.append(time.process_time() - begun)
        return found

    found = [mask([], tight), mask([], (*ends[:2], *(ends[2:] - ends[:2])))]
    for box, most in ((tight, 2), (None, 3)):
        points: list[tuple[float, float, bool]] = []
        latest = found[0] if box else np.zeros_like(truth)
        for count in range(most):
            if (wrong := worst(latest, truth)) is not None:
                points.append((float(wrong[0][1]), float(wrong[0][0]), wrong[1]))
                latest = mask(points, box)
            if box or count in (0, most - 1):
                found.append(latest)
    return [region_similarity(one, truth) for one in found]


if __name__ == "__main__":
    main()
