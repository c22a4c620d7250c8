"""What the choice of the slot is worth: every slot that a new template could replace is tried.

Contests are made of clips of annotated sequences: some frames fill the chosen slots, a further one asks for a
place, and the loss (cross entropy + 1 - Dice) of the frames after it is measured for each slot that it could
take. Each rule's choice is compared with the mean of the contest; the oracle takes the cheapest slot. Give
sequences that the weights were not trained on.
"""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import add_options, describe_run, open_model, publish
from stremn.data import ClipRequest, VideoClips, collate, read_videos
from stremn.memory import MemoryLayout, get_policy
from stremn.models import Segmenter
from stremn.ops import update_similarity
from stremn.training.segmentation.choice import slot_costs
from stremn.training.segmentation.segment_clip import segment_clip

BATCH, AFTER = 4, 5
"""Clips at a time; frames after the contest, the first of which is only the latest template."""


def contests(model: Segmenter, clips: VideoClips, count: int, chosen: int, size: int) -> Iterator[Any]:
    """Frames in the slots and of the contender, costs ``(O, C)``, and scores by update key and by key."""
    generator = torch.Generator().manual_seed(0)
    for first in range(0, count, BATCH):
        batch = collate(
            [clips[ClipRequest(n, 1 + chosen + AFTER, size)] for n in range(first, first + BATCH)]
        )
        frames = torch.arange(1, chosen + 2)
        if first // BATCH % 2:
            frames = frames[torch.randperm(chosen + 1, generator=generator)]
        *held, new = frames.tolist()
        run = segment_clip(
            *(model, batch, MemoryLayout(chosen=chosen), get_policy("random-drop")),
            certainty=model.config.certainty,
            generator=generator,
        )
        costs = slot_costs(model, batch, run, held, new, guide=True)
        scores = [
            update_similarity(
                getattr(run.templates[new], keys),
                torch.stack([getattr(run.templates[t], keys) for t in held], dim=1),
            )
            for keys in ("update_key", "key")
        ]
        yield torch.tensor(held), costs.float(), scores


def gains(held: Tensor, costs: Tensor, scores: list[Tensor]) -> dict[str, list[float]]:
    """Cost of each rule's slot less the contest's mean, by rule, one figure an object."""
    slots = {
        "learned": scores[0].argmax(dim=1),
        "most-similar": scores[1].argmax(dim=1),
        "newest": held.argmax().expand(len(costs)),
        "oldest": held.argmin().expand(len(costs)),
        "oracle": costs.argmin(dim=1),
        "worst": costs.argmax(dim=1),
    }
    mean = costs.mean(dim=1)
    found = {name: costs.gather(1, slot.unsqueeze(1))[:, 0] - mean for name, slot in slots.items()}
    return {name: values.tolist() for name, values in (found | {"mean": mean}).items()}


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("root", help="DAVIS-layout folder")
    parser.add_argument("--sequences", required=True, help="names, with commas; not trained on")
    parser.add_argument("--model", default="stremn-lite")
    parser.add_argument("--contests", type=int, default=48)
    parser.add_argument("--chosen", type=int, default=3)
    parser.add_argument("--size", type=int, default=288, help="of the clips, in pixels")
    add_options(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = open_model(args.model)[0].eval()
    sequences = [s for s in read_videos(args.root) if s.name in args.sequences.split(",")]
    clips = VideoClips(sequences, [], max_gap=15, objects=1, seed=99, hidden_share=0, look_alike_share=0)
    found = defaultdict[str, list[float]](list)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for contest in contests(model, clips, args.contests, args.chosen, args.size):
            for name, values in gains(*contest).items():
                found[name] += values
    level = float(np.mean(found.pop("mean")))
    record = describe_run(args.threads, args.clock) | {"contests": args.contests, "mean_cost": level}
    record["gains"] = dict(found)
    lines = [
        "| Choice | cost above the contest's mean, % of the mean cost | standard error |",
        "|---|---|---|",
    ]
    for name, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        lines.append(f"| {name} | {100 * np.mean(values) / level:+.2f} | {100 * error / level:.2f} |")
    publish("choice", args.out, record, "\n".join(lines))


if __name__ == "__main__":
    main()
