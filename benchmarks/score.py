"""Time `stremn.metrics` against the official DAVIS 2017 evaluation, and compare every figure of both.

Both read the same PNG files and score the same sequences in one run, in turns; imports are not timed. The
official tool is not part of this repository: give the path of a checkout of
github.com/davisvideochallenge/davis2017-evaluation whose requirements can be imported (opencv, scikit-image,
scipy, tqdm). Without --predictions, the truth with faults added is scored.

    python benchmarks/score.py --official PATH --data DATA

DATA is a folder with DAVIS2016 and DAVIS2017 beneath it. `--write-golden` also has the official tool score
the generated masks and writes tests/metrics/golden_scores.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from stremn.metrics import ScoreTable, score_folders

TESTS = Path(__file__).resolve().parents[1] / "tests" / "metrics"
sys.path.insert(0, str(TESTS))
import golden_masks  # noqa: E402

FIGURES = ("j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")
Figures = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, required=True, help="checkout of davis2017-evaluation")
    parser.add_argument("--data", type=Path, required=True, help="folder of DAVIS2016 and DAVIS2017")
    parser.add_argument("--predictions", type=Path, help="folder of one folder of masks per sequence")
    parser.add_argument("--jobs", type=int, help="threads of stremn (default: one per core)")
    parser.add_argument("--repeats", type=int, default=1, help="turns of both; the best time of each counts")
    parser.add_argument("--sequences", nargs="+", help="score these only")
    parser.add_argument("--write-golden", action="store_true", help="write the numbers that the tests check")
    args = parser.parse_args()
    if args.write_golden and (args.sequences or args.predictions):
        parser.error("--write-golden scores all sequences, with its own predictions")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = lay_out(root, args.data, args.sequences, synthetic=args.write_golden)
        predictions = args.predictions or perturb(root)
        compare(root, predictions, names, args)


def lay_out(root: Path, data: Path, chosen: list[str] | None, *, synthetic: bool) -> list[str]:
    """Links in the one layout that the official tool reads; it wants a frame, unread, for every mask."""
    annotations = root / "Annotations" / "480p"
    annotations.mkdir(parents=True)
    sequences = golden_masks.real_sequences(data)
    if chosen and (unknown := set(chosen) - sequences.keys()):
        sys.exit(f"no such sequences: {sorted(unknown)}; there are {sorted(sequences)}")
    sequences = {name: sequences[name] for name in chosen or sequences}
    for name, masks in sequences.items():
        (annotations / name).symlink_to(masks.resolve())
    if synthetic:
        golden_masks.write_masks(annotations / golden_masks.SYNTHETIC, golden_masks.synthetic_truth())
        sequences[golden_masks.SYNTHETIC] = annotations / golden_masks.SYNTHETIC
    for name in sequences:
        frames = root / "JPEGImages" / "480p" / name
        frames.mkdir(parents=True)
        for mask in (annotations / name).glob("*.png"):
            (frames / f"{mask.stem}.jpg").touch()
    split = root / "ImageSets" / "2017" / "val.txt"
    split.parent.mkdir(parents=True)
    split.write_text("\n".join(sequences))
    return list(sequences)


def perturb(root: Path) -> Path:
    for truth in (root / "Annotations" / "480p").iterdir():
        masks = golden_masks.perturbed(golden_masks.read_masks(truth))
        golden_masks.write_masks(root / "predictions" / truth.name, list(masks))
    return root / "predictions"


def compare(root: Path, predictions: Path, names: list[str], args: argparse.Namespace) -> None:
    official = official_tool(args.official, root)
    tools = {
        "stremn": lambda: score_folders(predictions, root, split=split, jobs=args.jobs),
        "official": lambda: official.evaluate(str(predictions)),
    }
    wall: dict[str, list[float]] = {name: [] for name in tools}
    cpu: dict[str, list[float]] = {name: [] for name in tools}
    results: dict[str, Any] = {}
    split = root / "ImageSets" / "2017" / "val.txt"
    for _ in range(args.repeats):
        for name, tool in tools.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            results[name] = tool()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    ours, theirs = figures(results["stremn"]), official_figures(results["official"])
    if ours.keys() != theirs.keys():
        sys.exit(f"the tools score different objects: {sorted(ours.keys() ^ theirs.keys())}")
    difference = max(float(np.abs(np.subtract(ours[o], theirs[o])).max()) for o in ours)
    frames = len(list(root.glob("JPEGImages/480p/*/*.jpg")))
    print(f"{platform.machine()}, {os.cpu_count()} cores; python {platform.python_version()}")
    print(f"{len(names)} sequences, {frames} frames, {len(ours)} objects")
    for name in tools:
        took, used = min(wall[name]), min(cpu[name])
        print(f"{name:9s}{took:8.2f} s {1000 * took / frames:8.2f} ms/frame {used:8.2f} s of processor time")
    ratios = [min(seconds["official"]) / min(seconds["stremn"]) for seconds in (wall, cpu)]
    print(f"faster by {ratios[0]:.1f} (time) and {ratios[1]:.1f} (processor time)")
    print(f"largest difference of a figure {difference:.1e}")
    if args.write_golden:
        write_golden(args.official, theirs)
    if difference > 1e-6:
        sys.exit("the figures differ by more than 1e-6")


def official_tool(path: Path, root: Path) -> Any:
    sys.path.insert(0, str(path))
    try:
        from davis2017.evaluation import DAVISEvaluation
        from skimage.morphology import disk  # noqa: F401  (imported late by the tool itself)
    except ImportError as error:
        sys.exit(f"the official tool at {path} cannot be imported ({error}): install its requirements")
    return DAVISEvaluation(davis_root=str(root), task="semi-supervised", gt_set="val")


def figures(table: ScoreTable) -> Figures:
    return {f"{o.sequence}_{o.object_id}": [getattr(o, name) for name in FIGURES] for o in table.objects}


def official_figures(result: dict[str, Any]) -> Figures:
    columns = [result[metric][kind] for metric in "JF" for kind in "MRD"]
    rows = zip(*columns, strict=True)
    return {
        name: [float(v) for v in row] for name, row in zip(result["J"]["M_per_object"], rows, strict=True)
    }


def write_golden(official: Path, scores: Figures) -> None:
    commit = subprocess.run(
        ["git", "-C", str(official), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    golden = {
        "note": "Scores that the official DAVIS 2017 evaluation gives to the masks of golden_masks.py, "
        "object by object; written by benchmarks/score.py --write-golden.",
        "official_commit": commit,
        "figures": FIGURES,
        "scores": scores,
    }
    (TESTS / "golden_scores.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
