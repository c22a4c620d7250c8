"""Run a model over training clips, by the same step and the same memory as a session."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from stremn.data import Clip
from stremn.memory import Rules
from stremn.models import ImageFeatures, SegmentationState, Segmenter
from stremn.models.segmenter import ABSENT_LOGIT

__all__ = ["damaged", "forget_activations", "segment_clip"]

CELLS = 6
"""Cells along each side of the noise that regions are cut from: about a sixth of the frame is their size."""

REACH = 0.12
"""How far from the object a false part may be, in shares of the frame's height."""


def segment_clip(
    model: Segmenter, clip: Clip, rules: Rules, *, guide: bool = True, damage: float = 0.0
) -> Tensor:
    """Segment every frame after the first, given the masks of the first.

    Args:
        model: in training mode or not.
        clip: a batch, frames ``(B, T, 3, h, w)``.
        rules: of the memory; fewer chosen slots than frames that compete make the policy choose. Their
            generator, on the device of the clip, is that of the damage too.
        guide: False withholds the previous probabilities from the decoder.
        damage: share of the objects of a frame whose mask is spoilt before it goes on, see
            :func:`damaged`.

    Returns:
        Logits of the frames after the first ``(B, T - 1, O, h', w')`` float32.
    """
    batch, length = clip.frames.shape[:2]
    objects = clip.valid.shape[1]
    absent = ~clip.valid.flatten()[:, None, None, None]
    ids = torch.arange(1, objects + 1, device=clip.labels.device).view(1, -1, 1, 1)
    masks = (clip.labels[:, :1] == ids).flatten(0, 1).unsqueeze(1).to(clip.frames.dtype)
    found: list[Tensor] = []

    def settle(logits: Sequence[Tensor]) -> list[Tensor]:
        found.append(logits[0].masked_fill(absent, ABSENT_LOGIT))
        probabilities = model.aggregate(found[-1], batch)
        return [damaged(probabilities, damage, rules.generator) if damage else probabilities]

    features = _encoded(model, clip.frames)
    states: tuple[SegmentationState, ...] = ()
    _, states = model.observe([features[0]], states, rules, 0, given=[masks])
    for t in range(1, length - 1):
        _, states = model.observe(
            [features[t]],
            states,
            rules,
            t,
            candidate=rules.candidate(t, t - 1),
            guide=guide,
            settle=settle,
        )
    # What the last frame would leave to the next teaches nothing.
    found.append(model.segment(features[-1], states[0], guide=guide).masked_fill(absent, ABSENT_LOGIT))
    return torch.stack(found, dim=1).unflatten(0, (batch, objects)).squeeze(3).transpose(1, 2)


def forget_activations(model: Segmenter) -> None:
    """Let encoders, read and decoder compute again in the backward pass what they need for it.

    Nothing random is drawn in them, and the choice of a slot is not made again.
    """
    for verb in ("encode_image", "segment", "encode_template"):
        setattr(model, verb, partial(checkpoint, getattr(model, verb), use_reentrant=False))


def _encoded(model: Segmenter, frames: Tensor) -> list[ImageFeatures]:
    """Features of each of the frames ``(B, T, 3, h, w)``."""
    length = frames.shape[1]
    every = model.encode_image(frames.flatten(0, 1))
    return [
        replace(
            every,
            image=every.image[t::length],
            key=every.key[t::length],
            maps=tuple(m[t::length] for m in every.maps),
        )
        for t in range(length)
    ]


def damaged(probabilities: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Masks of which some lost parts of their object, and others gained parts of what is beside it.

    In a long video a mistake is written into memory and comes back from there. Clips are too short for that
    to happen by itself; so it is done to them, and the frames after it teach to go back to the given mask.

    Args:
        probabilities: of the objects ``(O, 1, h, w)``.
        share: of the objects that are damaged, from 0 to 1; half by a loss, half by a gain.
        generator: of the draws, on the device of the probabilities.

    Returns:
        Probabilities of the same shape.
    """
    objects, _, height, width = probabilities.shape
    device = probabilities.device
    hit, loses, level = torch.rand((3, objects, 1, 1, 1), generator=generator, device=device)
    noise = torch.randn((objects, 1, CELLS, CELLS), generator=generator, device=device)
    noise = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    region = noise > 0.2 + 0.8 * level
    reach = round(REACH * height)
    near = F.max_pool2d((probabilities.detach() > 0.5).float(), 2 * reach + 1, stride=1, padding=reach) > 0
    lost = probabilities.masked_fill(region, 0)
    gained = probabilities.masked_fill(region & near, 1)
    return torch.where(hit < share, torch.where(loses < 0.5, lost, gained), probabilities)
