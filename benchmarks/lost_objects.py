"""Whether a session knows that it has lost an object: precision and recall of `lost`, ROC of `confidence`.

Hard videos are made of sequences that were not trained on: objects that move fast, are hidden, meet another
object or leave at that moment, a cut to another scene, and the sequences themselves with frames left out. An
event is a region similarity below 0.3 for five frames or more; an alarm is a run of frames with ``lost``.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import hard_cases as hard
from common import add_options, describe_run, open_model, publish
from stremn import SegmentationSession
from stremn.data import Video, read_videos
from stremn.metrics import region_similarity
from stremn.sessions.confidence import CHECK_EVERY

HEIGHT, WIDTH, FRAMES = 240, 427, 30
BELOW, LENGTH = 0.3, 5
MOVING = ((0.1, 0.1), (0.2, 0.1), (0.2, 0.15), (0.1, 0.05), (0.3, 0.2), (0.15, 0.08))
HIDDEN = ((0.1, 10), (0.2, 10), (0.15, 20), (0.3, 20))
MEETING = (("leaves", 0.25), ("passes", 0.25), ("returns", 0.2), ("leaves", 0.15), ("passes", 0.15))
KEPT = (1, 2, 4, 5)

Frames = list[tuple[np.ndarray, np.ndarray]]


def meeting(sprite: Video, other: Video, behind: Video, size: float, how: str, seed: int) -> Frames:
    """The object and another one change places; it may leave where they meet, and return."""
    rng = np.random.default_rng(seed)
    ends = np.array([[0.25, 0.3 + 0.4 * rng.random()], [0.75, 0.3 + 0.4 * rng.random()]]) * [WIDTH, HEIGHT]
    frames = []
    for t in range(FRAMES):
        share = t / (FRAMES - 1)
        canvas = cv2.resize(hard.read_rgb(hard.forth_and_back(behind.frames, t)), (WIDTH, HEIGHT))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if how == "passes" or t < 12 or (how == "returns" and t > 21):
            place = ends[0] * (1 - share) + ends[1] * share
            canvas, mask = hard.paste(canvas, *hard.cut_out(sprite, t, size * HEIGHT), place)
        place = ends[1] * (1 - share) + ends[0] * share
        canvas, over = hard.paste(canvas, *hard.cut_out(other, t, size * HEIGHT), place)
        frames.append((canvas, mask & (1 - over)))
    return frames


def videos(sequences: list[Video], own: int, seed: int) -> Iterator[tuple[str, Frames]]:
    """The hard videos of one sequence; with another seed objects take other ways."""
    turned = sequences[own:] + sequences[:own]
    mine, after, third, last = turned
    frames = [hard_frame(mine, t) for t in range(len(mine.frames))]
    for number, (how, size) in enumerate(MEETING):
        other = third if number % 2 == 0 else last
        yield how, meeting(mine, other, after, size, how, seed + 100 * own + number)
    for other in (after, third):
        gone = [(hard_frame(other, 2 * t)[0], np.zeros((HEIGHT, WIDTH), np.uint8)) for t in range(16)]
        yield "cut", frames[::2][:12] + gone
    for number, (size, speed) in enumerate(MOVING):
        yield "fast", hard.frames_of(hard.Case(mine, third, size, speed), seed + 100 * own + number)
    for number, (size, hidden) in enumerate(HIDDEN):
        yield "hidden", hard.frames_of(hard.Case(mine, third, size, 0.03, hidden), seed + 100 * own + number)
    for every in KEPT:
        yield "real", frames[::every]


def hard_frame(video: Video, t: int) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.resize(hard.read_rgb(video.frames[t]), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    mask = (hard.read_object_labels(video.masks[t]) > 0).astype(np.uint8)
    return image, cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)


def run(session: SegmentationSession, frames: Frames) -> dict[str, list[Any]]:
    """By frame, from the second on."""
    session.reset()
    record: dict[str, list[Any]] = {"j": [], "there": [], "confidence": [], "lost": []}
    for t, (image, truth) in enumerate(frames):
        result = session.step(image, truth if t == 0 else None)
        if t:
            record["j"].append(region_similarity(result.labels > 0, truth > 0))
            record["there"].append(bool(truth.any()))
            record["confidence"].append(result.confidence[1])
            record["lost"].append(result.lost[1])
    return record


def runs(flags: list[bool]) -> list[range]:
    """Where flags are set without a break."""
    found = []
    for flag, places in groupby(range(len(flags)), key=flags.__getitem__):
        whole = list(places)
        if flag:
            found.append(range(whole[0], whole[-1] + 1))
    return found


def counts(record: dict[str, list[Any]]) -> dict[str, int]:
    """Events seen and missed; alarms by what they were for."""
    bad, lost = [j < BELOW for j in record["j"]], record["lost"]
    events = [event for event in runs(bad) if len(event) >= LENGTH]
    within = {t for event in events for t in event}
    result = dict.fromkeys(("seen", "missed", "of an event", "object away", "short loss", "false"), 0)
    for event in events:
        result["seen" if any(lost[t] for t in event) else "missed"] += 1
    for alarm in runs(lost):
        around = range(max(0, alarm[0] - CHECK_EVERY), alarm[-1] + 1)
        if within & set(alarm):
            result["of an event"] += 1
        elif not all(record["there"][t] for t in around):
            result["object away"] += 1
        else:
            result["short loss" if any(bad[t] for t in around) else "false"] += 1
    return result


def area_under_roc(scores: np.ndarray, right: np.ndarray) -> float:
    """The chance that a right frame scores higher than a wrong one, ties counting half."""
    higher = scores[right][:, None] - scores[~right][None]
    return float((higher > 0).mean() + (higher == 0).mean() / 2)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", help="DAVIS-layout folder")
    parser.add_argument("--sequences", required=True, help="four names, with commas; not trained on")
    parser.add_argument("--of", help="make videos of these only; default all")
    parser.add_argument("--model", default="stremn-lite", help="name or file")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0, help="of the ways that objects take")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    hard.HEIGHT, hard.WIDTH = HEIGHT, WIDTH
    sequences = [s for s in read_videos(Path(args.root)) if s.name in args.sequences.split(",")]
    session = SegmentationSession(open_model(args.model)[0], size=args.size)
    record, lines = describe_run(args.threads, args.clock), []
    record["videos"] = []
    for own, sequence in enumerate(sequences):
        if args.of and sequence.name not in args.of.split(","):
            continue
        found = []
        for kind, frames in videos(sequences, own, args.seed):
            found.append({"of": sequence.name, "kind": kind} | run(session, frames))
        total = {key: sum(counts(video)[key] for video in found) for key in counts(found[0])}
        alarms = total["of an event"] + total["short loss"] + total["false"]
        flat = {key: np.array([x for video in found for x in video[key]]) for key in ("j", "confidence")}
        record["videos"] += found
        cells = [
            *(len(found), len(flat["j"])),
            f"{total['seen']} of {total['seen'] + total['missed']}",
            f"{total['of an event']} of {alarms}",
            *(total["short loss"], total["false"], total["object away"]),
            f"{area_under_roc(flat['confidence'], flat['j'] >= BELOW):.2f}",
        ]
        lines.append(f"| {sequence.name} | " + " | ".join(map(str, cells)) + " |")
        print(lines[-1], flush=True)
    heads = ["Object of", "videos", "frames", "events seen", "alarms of an event", "of a shorter loss"]
    heads += ["false", "object away", "ROC area by frame"]
    table = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines]
    publish("lost_objects", args.out, record, "\n".join(table))


if __name__ == "__main__":
    main()
