"""Where it is decided which of several look-alikes is which: truth put into the state, and readouts apart.

Sequences are followed four times: as they are, with the truth written into the memory, with the truth as the
previous mask, and with both. Each time, at every position at stride 16 that is an object's, each part that
the decoder sees is asked which object it is, and so are the final masks.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import add_options, describe_run, publish
from stremn import SegmentationSession
from stremn.data import Video, new_objects, play, read_videos
from stremn.memory import read_target
from stremn.metrics import SequenceScorer
from stremn.models import ImageFeatures, SegmentationState
from stremn.ops import affinity

TRUTHS = {
    "nothing": (False, False),
    "memory": (True, False),
    "previous mask": (False, True),
    "both": (True, True),
}
ASKED = ("first", "latest", "chosen", "target of the first", "target of all", "previous mask", "found")


def layers(labels: np.ndarray, ids: tuple[int, ...]) -> Tensor:
    """Masks ``(O, 1, H, W)`` float32."""
    return torch.from_numpy(np.stack([labels == i for i in ids])).unsqueeze(1).float()


def who(session: SegmentationSession, features: ImageFeatures, masks: dict[int, Tensor]) -> dict[str, Tensor]:
    """What each part says of every position ``(O, N)``, by the masks of the frames in memory."""
    state, model = session.states[0], session.model
    memory = state.memory
    query = features.key.expand(memory.objects, -1, -1)
    target = read_target(memory, model._target_features(features).expand(memory.objects, -1, -1))
    each = target.unflatten(-1, (2, -1))[..., -2]
    said = {"target of the first": each[..., 0], "target of all": each[..., 1]}
    for part, slots in {"first": slice(0, 1), "latest": slice(1, 2), "chosen": slice(2, None)}.items():
        frames, occupied = memory.frame_index[:, slots], memory.occupied[:, slots]
        if not occupied.any(dim=1).all():
            continue
        kept = torch.stack(
            [torch.cat([masks[max(0, int(t))][o] for t in row]) for o, row in enumerate(frames)]
        )
        weights = affinity(
            query.float(),
            memory.key[:, slots].flatten(1, 2).float(),
            similarity="l2",
            occupied=occupied.repeat_interleave(query.shape[1], dim=1),
        )
        said[part] = (weights @ kept.unsqueeze(-1)).squeeze(-1)
    said["previous mask"] = model.resize(state.previous, features.grid).flatten(1)
    return said


def follow(session: SegmentationSession, video: Video, truth: tuple[bool, bool]) -> dict[str, Any]:
    """Score of a sequence, and for each part the share of positions at which it names the right object."""
    session.reset()
    scorer, masks = SequenceScorer(video.name), dict[int, Tensor]()
    right, positions = dict.fromkeys(ASKED, 0), dict.fromkeys(ASKED, 0)
    for frame in play(video, 0):
        given = new_objects(frame.truth, session.object_ids)
        (features,) = session.encode(frame.image)
        said = {} if given is not None else who(session, features, masks)
        result = session.step(frame.image, given, features=(features,))
        scorer.update(result.labels, frame.truth)
        whole = layers(frame.truth, session.object_ids)
        true = session.model.resize(whole, features.grid).flatten(1)
        own = session.model.resize(session.states[0].previous, features.grid).flatten(1)
        if said:
            said["found"] = own
            at = true.max(dim=0).values > 0.5
            for part, each in said.items():
                right[part] += int((each.argmax(dim=0) == true.argmax(dim=0))[at].sum())
                positions[part] += int(at.sum())
        masks[result.frame_index] = true if truth[0] else own
        state = session.states[0]
        with torch.inference_mode(), session.runtime.active():
            memory, previous = state.memory, state.previous
            small = session.model.resize(whole, features.logit_size)
            if truth[0] and given is None:
                template = session.model.encode_template(features, small)
                there = whole.flatten(1).any(dim=1)
                memory = memory.replaced(template, torch.where(there, memory.layout.latest_slot, -1))
            session.states = (SegmentationState(memory, small if truth[1] else previous),)
    scores = [100 * s.j_and_f for s in scorer.result()]
    return {"J&F": float(np.mean(scores)), "right": right, "positions": positions}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="+", type=Path, help="DAVIS-layout folders")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--size", type=int, default=240, help="internal resolution")
    parser.add_argument("--name", default="who_is_who")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    session = SegmentationSession(args.model, size=args.size, precision="fp32")
    record = describe_run(args.threads, args.clock)
    lines = ["| | truth in | J&F | " + " | ".join(ASKED) + " |", "|---" * (3 + len(ASKED)) + "|"]
    for root in args.roots:
        for name, truth in TRUTHS.items():
            runs = [follow(session, video, truth) for video in read_videos(root)]
            record[f"{root.name}: {name}"] = runs
            shares = [
                100 * sum(r["right"][p] for r in runs) / max(1, sum(r["positions"][p] for r in runs))
                for p in ASKED
            ]
            cells = [
                root.name,
                name,
                f"{np.mean([r['J&F'] for r in runs]):.1f}",
                *(f"{s:.1f}" for s in shares),
            ]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    publish(args.name, args.out, record, "\n".join(lines))


if __name__ == "__main__":
    main()
