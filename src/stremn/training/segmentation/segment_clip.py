"""Run a model over training clips, by the same verbs and the same memory as at inference."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stremn.data import Clip
from stremn.memory import MemoryLayout, Policy, SlotMemory, Template, surely_visible
from stremn.models import ImageFeatures, Segmenter
from stremn.training.segmentation.damage import damaged

__all__ = ["SegmentedClip", "segment_clip"]

ABSENT_LOGIT = -20.0
"""Logit of an object slot that holds no object, so that it takes no part in the aggregation."""


@dataclass(frozen=True)
class SegmentedClip:
    """What came of ``B`` videos with ``O`` objects each.

    Attributes:
        logits: of the frames after the first and the burn-in ``(B, T - 1 - burn_in, O, h/4, w/4)``, float32.
        features: of all frames.
        owner: which video each object is of ``(B·O,)``.
        templates: of all frames but the last: of the true masks first, then of the predicted ones.
        previous: the probabilities that these were made of ``(B·O, 1, h/4, w/4)``.
    """

    logits: Tensor
    features: list[ImageFeatures]
    owner: Tensor
    templates: list[Template]
    previous: list[Tensor]


def segment_clip(
    model: Segmenter,
    clip: Clip,
    layout: MemoryLayout,
    policy: Policy,
    *,
    guide: bool = True,
    certainty: float = 0.0,
    damage: float = 0.0,
    burn_in: int = 0,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> SegmentedClip:
    """Segment every frame after the first, given the masks of the first.

    With ``burn_in`` the first of them are segmented without gradients, so that the memory holds what the
    model made of them, mistakes and all, at a third of the cost; only the given masks and the frames after
    them teach.

    Args:
        model: in training mode or not.
        clip: a batch, frames ``(B, T, 3, h, w)``.
        layout: of the memory; fewer chosen slots than frames make the policy choose.
        policy: decides which template is replaced.
        guide: False withholds the previous probabilities from the decoder.
        certainty: how sure of its pixels an object must be for its template to be written, see
            :func:`stremn.memory.surely_visible`.
        damage: share of the objects of a frame whose mask is spoilt before it goes on, see
            :func:`stremn.training.segmentation.damage.damaged`.
        burn_in: frames after the first that are segmented without gradients; not returned among the logits.
        noise: Gumbel noise in the learned choice, Eq. (3).
        generator: of the noise and of the damage.
    """
    batch, length = clip.frames.shape[:2]
    objects = clip.valid.shape[1]
    owner = torch.arange(batch, device=clip.frames.device).repeat_interleave(objects)
    absent = ~clip.valid.flatten()[:, None, None, None]
    learns = torch.is_grad_enabled()
    features = _encoded(model, clip.frames[:, [0, *range(burn_in + 1, length)]])
    first = features[0]
    if burn_in:
        with torch.no_grad():
            features[1:1] = _encoded(model, clip.frames[:, 1 : burn_in + 1])
    ids = torch.arange(1, objects + 1, device=clip.labels.device).view(1, -1, 1, 1)
    masks = (clip.labels[:, :1] == ids).flatten(0, 1).unsqueeze(1).to(clip.frames.dtype)

    templates = [model.encode_template(first, masks, owner)]
    with torch.set_grad_enabled(learns and not burn_in):
        memory = SlotMemory.of_first_frame(templates[0], 0, layout)
    previous = [model.resize(masks, first.maps[0].shape[-2:])]
    result: list[Tensor] = []
    for t in range(1, length):
        if burn_in and t == burn_in + 1:
            memory = memory.with_permanent(templates[0])
        with torch.set_grad_enabled(learns and t > burn_in):
            logits = model.segment(features[t], memory, owner, previous[-1] if guide else None)
            result.append(logits.float().masked_fill(absent, ABSENT_LOGIT))
            if t + 1 < length:
                found = model.aggregate(result[-1], owner, batch)
                previous.append(damaged(found, damage, generator) if damage else found)
                templates.append(model.encode_template(features[t], previous[-1], owner))
                present = surely_visible(previous[-1], certainty) if certainty else None
                memory = memory.update(
                    templates[-1], t, policy, present=present, noise=noise, generator=generator
                )
    logits = torch.stack(result[burn_in:], dim=1).unflatten(0, (batch, objects)).squeeze(3).transpose(1, 2)
    return SegmentedClip(logits, features, owner, templates, previous)


def _encoded(model: Segmenter, frames: Tensor) -> list[ImageFeatures]:
    """Features of each of the frames ``(B, T, 3, h, w)``."""
    length = frames.shape[1]
    every = model.encode_image(frames.flatten(0, 1))
    return [_frame(every, t, length) for t in range(length)]


def _frame(features: ImageFeatures, t: int, length: int) -> ImageFeatures:
    return ImageFeatures(
        features.image[t::length], features.key[t::length], tuple(m[t::length] for m in features.maps)
    )
