"""Small, fast, blurred and briefly hidden objects: a table by size and speed, and the share found again.

Real objects, cut with their masks out of annotated sequences, move over real frames of the other sequences:
size and displacement are then known exactly. Give sequences that the weights were not trained on.
"""

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from common import add_options, describe_run, open_model, publish
from stremn import SegmentationSession
from stremn.data import Video, read_videos
from stremn.data.segmentation.images import read_object_labels, read_rgb
from stremn.metrics import region_similarity

SIZES = (0.05, 0.1, 0.2, 0.4)
"""Square root of the object's area as a share of the frame's height."""
SPEEDS = (0.005, 0.02, 0.05, 0.1)
"""Displacement per frame as a share of the frame's height."""
HIDDEN = (5, 10, 20)
"""Frames without the object."""
HEIGHT, WIDTH, FRAMES, BEFORE, AFTER = 360, 640, 24, 10, 6
FOUND = 0.5
"""The region similarity above which an object counts as found again."""


@dataclass(frozen=True)
class Case:
    """One video: whence the object comes, what is behind it, its size and speed, how long it is hidden."""

    sprite: Video
    background: Video
    size: float
    speed: float
    hidden: int = 0


def frames_of(case: Case, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames ``(360, 640, 3)`` and masks; the object bounces inside the frame, blurred by its motion."""
    rng = np.random.default_rng(seed)
    count = FRAMES if not case.hidden else BEFORE + case.hidden + AFTER
    angle = rng.uniform(0, 2 * np.pi)
    step = case.speed * HEIGHT * np.array([np.cos(angle), np.sin(angle)])
    position = rng.uniform([0.25 * WIDTH, 0.25 * HEIGHT], [0.75 * WIDTH, 0.75 * HEIGHT])
    result = []
    for t in range(count):
        canvas = cv2.resize(read_rgb(forth_and_back(case.background.frames, t)), (WIDTH, HEIGHT))
        cutout, alpha = cut_out(case.sprite, t, case.size * HEIGHT)
        half = np.array(alpha.shape[::-1]) / 2
        for axis, limit in enumerate((WIDTH, HEIGHT)):
            low, high = 0.5 * half[axis], limit - 0.5 * half[axis]
            if not low <= position[axis] + step[axis] <= high:
                step[axis] = -step[axis]
        position = position + step
        cutout, alpha = blur((cutout, alpha), step / 2)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if not (case.hidden and BEFORE <= t < BEFORE + case.hidden):
            canvas, mask = paste(canvas, cutout, alpha, position)
        result.append((canvas, mask))
    return result


def forth_and_back(files: tuple[Path, ...], t: int) -> Path:
    period = 2 * len(files) - 2
    return files[min(t % period, period - t % period)]


def cut_out(sequence: Video, t: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """The object of a frame, float32 image and alpha, scaled to ``size`` by the square root of its area."""
    labels = (read_object_labels(forth_and_back(sequence.masks, t)) > 0).astype(np.uint8)
    image = read_rgb(forth_and_back(sequence.frames, t)).astype(np.float32)
    if not labels.any():
        return np.zeros((1, 1, 3), np.float32), np.zeros((1, 1), np.float32)
    x, y, w, h = cv2.boundingRect(labels)
    part = slice(y, y + h), slice(x, x + w)
    scale = size / float(np.sqrt(labels.sum()))
    shape = max(1, round(w * scale)), max(1, round(h * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image[part], shape, interpolation=how), cv2.resize(
        labels[part].astype(np.float32), shape, interpolation=how
    )


def blur(cutout: tuple[np.ndarray, np.ndarray], along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Motion blur over ``along`` pixels, (x, y), with room for it around the object."""
    length = int(np.hypot(*along)) | 1
    if length < 3:
        return cutout
    kernel = np.zeros((length, length), np.float32)
    reach = along / np.hypot(*along) * (length // 2)
    middle = np.array([length // 2] * 2)
    ends = [tuple(int(v) for v in np.round(middle + s * reach)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    kernel /= kernel.sum()
    pad = ((length, length), (length, length))
    alpha = np.pad(cutout[1], pad)
    weighted = cv2.filter2D(np.pad(cutout[0], (*pad, (0, 0))) * alpha[..., None], -1, kernel)
    alpha = cv2.filter2D(alpha, -1, kernel)
    return weighted / np.maximum(alpha, 1e-3)[..., None], alpha


def paste(
    canvas: np.ndarray, image: np.ndarray, alpha: np.ndarray, center: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    height, width = alpha.shape
    move = np.float32([[1, 0, center[0] - width / 2], [0, 1, center[1] - height / 2]])
    alpha = cv2.warpAffine(alpha, move, (WIDTH, HEIGHT))
    image = cv2.warpAffine(image, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    mixed = canvas + (image - canvas) * alpha[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8), (alpha > 0.5).astype(np.uint8)


def run_case(session: SegmentationSession, case: Case, seed: int) -> dict[str, Any]:
    """Mean J from the second frame on; for a hidden object whether it was found, and its empty frames."""
    session.reset()
    scores, empty = [], []
    for t, (frame, mask) in enumerate(frames_of(case, seed)):
        labels = session.step(frame, mask if t == 0 else None).labels
        scores.append(region_similarity(labels > 0, mask > 0))
        if case.hidden and BEFORE <= t < BEFORE + case.hidden:
            empty.append(not labels.any())
    record = {"sprite": case.sprite.name, "background": case.background.name, "size": case.size}
    record |= {"speed": case.speed, "hidden": case.hidden, "j": float(np.mean(scores[1:]))}
    if case.hidden:
        back = BEFORE + case.hidden
        record["tracked_before"] = bool(scores[BEFORE - 1] > FOUND)
        record["found"] = bool(max(scores[back : back + 5]) > FOUND)
        record["empty_while_hidden"] = float(np.mean(empty))
    return record


def cases(sequences: list[Video]) -> list[Case]:
    """Every object over the next sequence's frames, in every size and speed; and hidden, in two sizes."""
    pairs = list(zip(sequences, [*sequences[1:], sequences[0]], strict=True))
    moving = [Case(a, b, size, speed) for a, b in pairs for size in SIZES for speed in SPEEDS]
    hidden = [
        Case(a, b, size, speed, n)
        for a, b in pairs
        for size in (0.1, 0.2)
        for speed in (0.01, 0.03)
        for n in HIDDEN
    ]
    return moving + hidden


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean J by size and speed, and the shares for hidden objects."""
    hidden = [r for r in records if r["hidden"]]
    tracked = [r for r in hidden if r["tracked_before"]]

    def share(of: list[dict[str, Any]], key: str) -> float | None:
        return round(float(np.mean([r[key] for r in of])), 3) if of else None

    cells = {
        size: {
            speed: [r for r in records if not r["hidden"] and (r["size"], r["speed"]) == (size, speed)]
            for speed in SPEEDS
        }
        for size in SIZES
    }
    return {
        "j": {str(a): {str(b): share(found, "j") for b, found in row.items()} for a, row in cells.items()},
        "found": share(hidden, "found"),
        "found_of_those_tracked_before": share(tracked, "found"),
        "tracked_before": share(hidden, "tracked_before"),
        "found_after": {str(n): share([r for r in hidden if r["hidden"] == n], "found") for n in HIDDEN},
        "empty_while_hidden": share(hidden, "empty_while_hidden"),
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: one row for each model and size."""
    heads = ["Weights", "Object size", *(f"{100 * s:g} %/frame" for s in SPEEDS)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, result in results.items():
        for size, row in result["j"].items():
            cells = [name, f"{100 * float(size):g} %", *(f"{100 * v:.0f}" for v in row.values())]
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| Weights | Found again | after 5 / 10 / 20 frames | of those tracked before | Empty while hidden |",
    ]
    lines.append("|---|---|---|---|---|")
    for name, result in results.items():
        after = " / ".join(f"{100 * v:.0f}" for v in result["found_after"].values())
        shares = [result[k] for k in ("found", "found_of_those_tracked_before", "empty_while_hidden")]
        first, tracked, empty = (f"{100 * v:.0f} %" for v in shares)
        lines.append(f"| {name} | {first} | {after} % | {tracked} | {empty} |")
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", help="DAVIS-layout folder")
    parser.add_argument("--sequences", required=True, help="names, with commas; not trained on")
    parser.add_argument(
        "--models", default="stremn-lite", help="names or files, with commas, each NAME or LABEL=NAME"
    )
    parser.add_argument("--size", type=int, help="internal resolution instead of the model's")
    parser.add_argument("--name", default="hard_cases")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    wanted = args.sequences.split(",")
    sequences = [s for s in read_videos(args.root) if s.name in wanted]
    record = describe_run(args.threads, args.clock)
    record["videos"], results = {}, {}
    for entry in args.models.split(","):
        label, _, name = entry.rpartition("=")
        session = SegmentationSession(open_model(name)[0], size=args.size)
        videos = [run_case(session, case, seed) for seed, case in enumerate(cases(sequences))]
        record["videos"][label or name], results[label or name] = videos, summary(videos)
        print(label or name, results[label or name], flush=True)
    record["results"] = results
    publish(args.name, args.out, record, table(results))


if __name__ == "__main__":
    main()
