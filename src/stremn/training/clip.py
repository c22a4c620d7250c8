"""Run a model over training clips, by the same verbs and the same memory as at inference."""

import torch
from torch import Tensor

from stremn.data import Clip
from stremn.memory import MemoryLayout, Policy, SlotMemory, shows
from stremn.models import ImageFeatures, Segmenter

__all__ = ["segment_clip"]

ABSENT_LOGIT = -20.0
"""Logit of an object slot that holds no object, so that it takes no part in the aggregation."""


def segment_clip(
    model: Segmenter,
    clip: Clip,
    layout: MemoryLayout,
    policy: Policy,
    *,
    guide: bool = True,
    certainty: float = 0.0,
    noise: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Logits of every frame after the first, given the masks of the first.

    Args:
        model: in training mode or not.
        clip: a batch, frames ``(B, T, 3, h, w)``.
        layout: of the memory; fewer chosen slots than frames make the policy choose.
        policy: decides which template is replaced.
        guide: False withholds the previous probabilities from the decoder.
        certainty: how sure of its pixels an object must be for its template to be written, see
            :func:`stremn.memory.shows`.
        noise: Gumbel noise in the learned choice, Eq. (3).
        generator: of the noise.

    Returns:
        ``(B, T - 1, O, h/4, w/4)``.
    """
    batch, length = clip.frames.shape[:2]
    objects = clip.valid.shape[1]
    owner = torch.arange(batch, device=clip.frames.device).repeat_interleave(objects)
    absent = ~clip.valid.flatten()[:, None, None, None]
    features = model.encode_image(clip.frames.flatten(0, 1))
    ids = torch.arange(1, objects + 1, device=clip.labels.device).view(1, -1, 1, 1)
    masks = (clip.labels[:, :1] == ids).flatten(0, 1).unsqueeze(1).to(clip.frames.dtype)

    first = _frame(features, 0, length)
    memory = SlotMemory.of_first_frame(model.encode_template(first, masks, owner), 0, layout)
    previous: Tensor | None = model.resize(masks, features.maps[0].shape[-2:])
    result = []
    for t in range(1, length):
        current = _frame(features, t, length)
        logits = model.segment(current, memory, owner, previous if guide else None)
        logits = logits.float().masked_fill(absent, ABSENT_LOGIT)
        result.append(logits.unflatten(0, (batch, objects)).squeeze(2))
        if t + 1 < length:
            previous = model.aggregate(logits, owner, batch)
            template = model.encode_template(current, previous, owner)
            present = shows(previous, certainty) if certainty else None
            memory = memory.update(template, t, policy, present=present, noise=noise, generator=generator)
    return torch.stack(result, dim=1)


def _frame(features: ImageFeatures, t: int, length: int) -> ImageFeatures:
    return ImageFeatures(
        features.image[t::length], features.key[t::length], tuple(m[t::length] for m in features.maps)
    )
