"""What correcting the worst frame is worth over the rest of a video, once and twice.

Sequences must not have been trained on. The worst frame is that of the least mean of J and F in the first
four fifths of the video (of what is left of it, the second time); the rest are the frames after the first
correction, the corrected ones left out. Beside it stands the object given anew, as by ``step(frame, masks)``.
"""

import copy
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import torch

from common import add_options, describe_run, open_model, publish
from stremn import SegmentationSession
from stremn.data import read_videos
from stremn.data.segmentation.images import read_object_labels, read_rgb
from stremn.metrics import contour_accuracy, region_similarity

Frames = list[tuple[np.ndarray, np.ndarray]]


def follow(session: SegmentationSession, frames: Frames, start: int) -> tuple[dict[int, float], dict]:
    """J&F by frame from ``start`` on, and the session after each of these frames."""
    scores, after = {}, {}
    for t in range(start, len(frames)):
        image, truth = frames[t]
        found = session.step(image, truth if t == 0 else None).labels > 0
        scores[t] = (region_similarity(found, truth > 0) + contour_accuracy(found, truth > 0)) / 2
        after[t] = clone(session)
    return scores, after


def clone(session: SegmentationSession) -> SegmentationSession:
    other = copy.copy(session)
    other.states, other._confidence = copy.deepcopy(session.states), dict(session._confidence)
    other._association = copy.deepcopy(session._association)
    return other


def worst(scores: dict[int, float], frames: Frames) -> int:
    first, last = min(scores), max(scores)
    asked = [t for t in scores if t <= first + 0.8 * (last - first) and frames[t][1].any()]
    return min(asked, key=scores.__getitem__)


def mend(session: SegmentationSession, frames: Frames, t: int, anew: bool) -> SegmentationSession:
    session = clone(session)
    if anew:
        session.frame_index -= 1
        session.step(*frames[t])
    else:
        session.correct(frames[t][1])
    return session


def gains(model: object, frames: Frames, size: int, anew: bool) -> tuple[int, list[float], list[float]]:
    """The frame corrected first; J&F of the rest before and after one correction, before and after two."""
    before, after = follow(SegmentationSession(model, size=size), frames, 0)
    first = worst({t: s for t, s in before.items() if t}, frames)
    once, after = follow(mend(after[first], frames, first, anew), frames, first + 1)
    second = worst(once, frames)
    twice, _ = follow(mend(after[second], frames, second, anew), frames, second + 1)
    twice = once | twice
    rest = [t for t in once if t != second]
    return (
        first,
        [float(np.mean([scores[t] for t in once])) for scores in (before, once)],
        [float(np.mean([scores[t] for t in rest])) for scores in (before, twice)],
    )


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", help="DAVIS-layout folder")
    parser.add_argument("--sequences", required=True, help="names, with commas; not trained on")
    parser.add_argument("--model", default="stremn-lite", help="name or file")
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--every", type=int, nargs="+", default=[1], help="take every so many frames")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    record, model = describe_run(args.threads, args.clock), open_model(args.model)[0]
    record["results"] = []
    lines = ["| Sequence | every | frame | J&F of the rest | once | given anew | twice | given anew |"]
    lines.append("|---" * 8 + "|")
    for video in read_videos(Path(args.root)):
        if video.name not in args.sequences.split(","):
            continue
        for every in args.every:
            pairs = zip(video.frames[::every], video.masks[::every], strict=True)
            frames = [(read_rgb(f), (read_object_labels(m) > 0).astype(np.uint8)) for f, m in pairs]
            mine, other = (gains(model, frames, args.size, anew) for anew in (False, True))
            record["results"].append(
                {"sequence": video.name, "every": every, "correct": mine, "given_anew": other}
            )
            cells = [100 * (after - before) for i in (1, 2) for before, after in (mine[i], other[i])]
            numbers = [f"{100 * mine[1][0]:.1f}", *(f"{cell:+.1f}" for cell in cells)]
            lines.append(f"| {video.name} | {every} | {mine[0]} | " + " | ".join(numbers) + " |")
            print(lines[-1], flush=True)
    publish("corrections", args.out, record, "\n".join(lines))


if __name__ == "__main__":
    main()
