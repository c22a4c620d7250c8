"""The choosing set: one number for weights or settings, its parts, and the standard error of each.

Single objects are the sequences of one half of what is set aside (``recipes/lite/split``), several objects
are look-alikes that cross, generated, and ``schoolgirls``, and hard cases are small, fast and hidden ones,
made of the half. The number is the mean of the three; a difference to the first row that is not above its
standard error is none.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common import add_options, describe_run, publish
from hard_cases import cases, frames_of
from stremn import from_pretrained
from stremn.data import ClipRequest, CrossingClips, open_stills, read_videos
from stremn.files import write_mask
from stremn.metrics import ScoreTable
from stremn.sessions import SegmentationSettings
from stremn.tables.engine import base_trial, run
from stremn.tables.segmentation import PlayedVideo, SegmentVideos
from stremn.tables.store import ResultStore

SEED = 20
"""Of the clips with look-alikes; nothing is ever trained on it."""
CROSSING, FRAMES, SIZE = 16, 24, 360
HARD_EVERY = 5
"""Of the hard cases every so many are taken; speeds and sizes go around in fours, so all of them come."""


def halves(half: str) -> Path:
    return Path(str(files("stremn"))) / "recipes" / "lite" / "split" / f"choose-{half}.txt"


def write_sequence(root: Path, name: str, frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write frames ``(H, W, 3)`` and masks, both uint8, as a sequence of a DAVIS-layout folder."""
    folders = [root / kind / name for kind in ("JPEGImages", "Annotations")]
    if all(folder.is_dir() for folder in folders):
        return
    for folder in folders:
        folder.mkdir(parents=True)
    for index, (image, mask) in enumerate(frames):
        Image.fromarray(image).save(folders[0] / f"{index:05d}.jpg", quality=95)
        write_mask(folders[1] / f"{index:05d}.png", mask)


def crossing(data: Path, root: Path) -> Path:
    """Write the clips of look-alikes that cross."""
    clips = CrossingClips([open_stills(str(data / "stills"))], seed=SEED)
    for number in range(CROSSING):
        clip = clips[ClipRequest(number, FRAMES, SIZE)]
        images = (255 * clip.frames.permute(0, 2, 3, 1)).round().byte().numpy()
        masks = clip.labels.byte().numpy()
        write_sequence(root, f"crossing-{number:02d}", zip(images, masks, strict=True))
    return root


def hard(data: Path, root: Path, half: str) -> Path:
    """Write every :data:`HARD_EVERY`-th hard case of a half."""
    chosen = list(enumerate(cases(read_videos(data / "DAVIS2016", halves(half)))))
    for seed, case in chosen[::HARD_EVERY]:
        write_sequence(root, f"hard-{seed:03d}", frames_of(case, seed))
    return root


def parts(data: Path, out: Path, half: str) -> dict[str, list[PlayedVideo]]:
    """The sequences of each part, those that are generated written first."""
    roots = {
        "single objects": [(data / "DAVIS2016", halves(half))],
        "look-alikes": [(crossing(data, out / "crossing"), None), (data / "DAVIS2017", None)],
        "hard cases": [(hard(data, out / f"hard-{half}", half), None)],
    }
    return {
        part: [PlayedVideo(video, root) for root, split in places for video in read_videos(root, split)]
        for part, places in roots.items()
    }


def error(values: np.ndarray) -> float:
    """Standard error of a mean over sequences."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def number(scores: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The mean of the parts' means, and its standard error."""
    means, errors = [v.mean() for v in scores.values()], [error(v) for v in scores.values()]
    return float(np.mean(means)), float(np.sqrt(np.square(errors).sum()) / len(errors))


def table(results: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Markdown: a row for each entry, then its differences to the first, paired by sequence."""
    first = next(iter(results.values()))
    heads = ["", *(f"{part} ({len(v)})" for part, v in first.items()), "**choosing set**"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, scores in results.items():
        cells = [(v.mean(), error(v)) for v in scores.values()] + [number(scores)]
        lines.append(f"| {name} | " + " | ".join(f"{m:.1f} ± {e:.1f}" for m, e in cells) + " |")
        if scores is not first:
            gains = {part: v - first[part] for part, v in scores.items()}
            cells = [(v.mean(), error(v)) for v in gains.values()] + [number(gains)]
            found = (f"{m:+.1f} ± {e:.1f}" + (" (none)" if abs(m) <= e else "") for m, e in cells)
            lines.append("| … against the first | " + " | ".join(found) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with DAVIS2016, DAVIS2017 and stills")
    parser.add_argument("--half", choices=["a", "b"], default="a", help="not trained on by the models")
    parser.add_argument("--models", default="stremn-lite", help="with commas, each NAME or LABEL=NAME")
    parser.add_argument(
        "--settings", default="", help="more rows: JSON of settings, by label, of the first model"
    )
    parser.add_argument("--size", type=int, default=240, help="internal resolution")
    parser.add_argument("--clips", type=Path, required=True, help="folder for generated clips and results")
    parser.add_argument("--name", default="choosing_set")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    items = parts(args.data, args.clips, args.half)
    store = ResultStore(args.clips / "results.jsonl", ScoreTable)
    models, trials = {}, {}
    for entry in args.models.split(","):
        label, _, name = entry.rpartition("=")
        model = from_pretrained(name)
        trials[label or name] = base_trial(model, SegmentationSettings(size=args.size))
        models[trials[label or name].weights] = model
    base = next(iter(trials.values()))
    trials |= {label: base.changed(**changes) for label, changes in json.loads(args.settings or "{}").items()}
    videos = [item for part in items.values() for item in part]
    found = run(trials.values(), videos, store, SegmentVideos(models))
    results = {}
    for label, trial in trials.items():
        means = {r.item: 100 * r.score.means["j_and_f"] for r in found[trial] if r.score}
        results[label] = {part: np.array([means[i.name] for i in those]) for part, those in items.items()}
    record = describe_run(args.threads, args.clock)
    record["results"] = {
        label: {i.name: float(v) for part in items for i, v in zip(items[part], scores[part], strict=True)}
        for label, scores in results.items()
    }
    publish(args.name, args.out, record, table(results))


if __name__ == "__main__":
    main()
