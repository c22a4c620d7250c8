"""Training of the choice alone: which slot a new template should replace, given a finished network.

Through Eq. (3) and (4) the update keys see one sampled choice at a time, and its noise drowns what the choice
is worth. Here the network stays as it is, and each slot that the new template could replace is tried on the
frames that follow. The loss is the expectation over the choice that Eq. (3) samples, and has no such noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.data import Clip
from stremn.errors import StremnError
from stremn.memory import MemoryLayout, SlotMemory, Template, get_policy
from stremn.models import Segmenter
from stremn.ops import update_similarity
from stremn.training.segmentation.segment_clip import SegmentedClip, segment_clip
from stremn.training.segmentation.task import SegmentationRecipe, SegmentationTask
from stremn.training.task import StepDraw

__all__ = ["ChoiceRecipe", "ChoiceTask", "slot_costs"]

LEAST_SPREAD = 0.01
"""Losses of the slots that differ by less than this hardly count: then the choice does not matter."""


@dataclass(frozen=True)
class ChoiceRecipe(SegmentationRecipe):
    """A training run of the update keys. The other keys: :class:`stremn.training.SegmentationRecipe`.

    Attributes:
        chosen: slots that compete; clips need at least ``chosen + 4`` frames.
        temperature: τ of the expectation; scores are means of cosines and differ by a few hundredths.
        shuffle_share: share of steps in which the templates meet in any order, not in that of time.
    """

    task: str = "choice"
    frames: tuple[int, ...] = (9,)
    chosen: int = 3
    temperature: float = 0.05
    shuffle_share: float = 0.5

    least: ClassVar[Mapping[str, float]] = {**SegmentationRecipe.least, "chosen": 2, "temperature": 1e-3}
    shares: ClassVar[tuple[str, ...]] = (*SegmentationRecipe.shares, "shuffle_share")

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        super().__post_init__()
        if min(self.frames) < self.chosen + 4:
            raise StremnError(
                f"recipe: 'frames' must be at least 'chosen' + 4 = {self.chosen + 4}, not {min(self.frames)}"
            )
        for name in ("damage_share", "burn_in"):
            if getattr(self, name):
                raise StremnError(f"recipe: '{name}' must be 0 where the choice alone is trained")


class ChoiceTask(SegmentationTask):
    """See the module."""

    recipe_class = ChoiceRecipe

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """The projection to update keys; all else is frozen."""
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        own = list(cast(nn.Module, model.update_key).parameters())
        for parameter in own:
            parameter.requires_grad_(True)
        return [{"params": own, "lr": self.recipe.learning_rate}]

    def loss(self, model: nn.Module, batch: Clip, draw: StepDraw) -> Tensor:
        """Expected standing of the replaced slot among all, by its :func:`slot_costs`."""
        recipe, network = cast(ChoiceRecipe, self.recipe), cast(Segmenter, model)
        guide = bool(torch.rand((), generator=draw.shared) < recipe.guide_share)
        shuffle = bool(torch.rand((), generator=draw.shared) < recipe.shuffle_share)
        run = segment_clip(
            *(network, batch, MemoryLayout(chosen=recipe.chosen), get_policy("random-drop")),
            guide=guide,
            certainty=network.config.certainty,
            generator=draw.own,
        )
        order = list(range(1, recipe.chosen + 2))
        if shuffle:
            order = [order[i] for i in torch.randperm(len(order), generator=draw.shared).tolist()]
        *held, new = order
        with torch.no_grad():
            cost = slot_costs(network, batch, run, held, new, guide=guide)
        bank = torch.stack([run.templates[t].update_key for t in held], dim=1)
        scores = update_similarity(run.templates[new].update_key, bank)
        spread = cost.std(dim=1, keepdim=True, correction=0)
        standing = (cost - cost.mean(dim=1, keepdim=True)) / (spread + LEAST_SPREAD)
        expected = (torch.softmax(scores / recipe.temperature, dim=1) * standing).sum(dim=1)
        valid = batch.valid.flatten()
        per_clip = (expected * valid).unflatten(0, batch.valid.shape).sum(1) / batch.valid.sum(1).clamp_min(1)
        return per_clip.mean()


def slot_costs(
    model: Segmenter, clip: Clip, run: SegmentedClip, held: list[int], new: int, *, guide: bool
) -> Tensor:
    """What it costs to give up each of the held templates for the new one.

    Args:
        model: the network.
        clip: the batch that was followed.
        run: what came of it.
        held: frames of the templates in the chosen slots.
        new: frame of the template that is to replace one of them.
        guide: False withholds the previous probabilities from the decoder.

    Returns:
        For each object and slot, cross entropy + 1 - Dice of the object in the frames that follow, where the
        memory holds the first, the latest and the other templates ``(B·O, len(held))`` float32.
    """
    length, total = clip.frames.shape[1], []
    ids = torch.arange(1, clip.valid.shape[1] + 1, device=clip.labels.device).view(1, -1, 1, 1)
    for t in range(max(*held, new) + 2, length):
        truth = (clip.labels[:, t : t + 1] == ids).flatten(0, 1).unsqueeze(1).to(clip.frames.dtype)
        truth = model.resize(truth, run.previous[0].shape[-2:])
        costs = []
        for given_up in held:
            kept = [0, t - 1, *(new if frame == given_up else frame for frame in held)]
            memory = _memory([run.templates[frame] for frame in kept], kept)
            logits = model.segment(run.features[t], memory, run.owner, run.previous[t - 1] if guide else None)
            costs.append(_cost(logits.float(), truth))
        total.append(torch.stack(costs, dim=1))
    return torch.stack(total).mean(dim=0)


def _memory(templates: list[Template], frames: list[int]) -> SlotMemory:
    key, value, update_key, *moments = (
        torch.stack(list(banks), dim=1) for banks in zip(*templates, strict=True)
    )
    index = torch.tensor(frames, device=key.device).expand(key.shape[:2])
    layout = MemoryLayout(chosen=len(frames) - 2)
    return SlotMemory(layout, key, value, update_key, index, torch.zeros_like(index[:, 0]), *moments)


def _cost(logits: Tensor, truth: Tensor) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1).mean(1)
    found = logits.sigmoid()
    overlap = 2 * (found * truth).flatten(1).sum(1) + 1
    return entropy + 1 - overlap / (found.flatten(1).sum(1) + truth.flatten(1).sum(1) + 1)
