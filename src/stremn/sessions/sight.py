"""A step that looks beyond one network pass: several views of the frame (V7), post-processing (V6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.models import Segmenter
from stremn.models.segmenter import ImageFeatures
from stremn.sessions.postprocess import drop_far
from stremn.sessions.result import label_map, winners
from stremn.sessions.step import Rules, State, look, remember, with_given
from stremn.sessions.view import View

__all__ = ["Sight", "advance_views", "is_plain"]


@dataclass(frozen=True)
class Sight:
    """What all views together make of a frame.

    Attributes:
        labels: winning id among the objects known before ``(H, W)`` uint8, at the frame's size.
        probabilities: of all objects, given ones last ``(O, 1, h', w')`` float32: at the frame's size with
            several views, at a quarter of the internal resolution with a plain one.
        states: one for each view.
    """

    labels: np.ndarray
    probabilities: Tensor
    states: tuple[State, ...]


def is_plain(views: Sequence[View]) -> bool:
    """Whether there is nothing to average: one view that is not mirrored."""
    return len(views) == 1 and not views[0].flip


def advance_views(
    model: Segmenter,
    frames: Sequence[Tensor | ImageFeatures],
    frame_index: Tensor,
    states: tuple[State, ...],
    rules: Rules,
    *,
    views: Sequence[View],
    reach: float | None,
    size: tuple[int, int],
    object_ids: tuple[int, ...],
    candidate: bool,
    given: Tensor | None,
) -> Sight:
    """Take one frame in every view.

    The probabilities of the views are averaged at the frame's size, after soft aggregation in each; what is
    left of the average after post-processing is what every view's memory is fed with, and the next frame's
    guidance. So a pixel that was taken away is never remembered.

    Args:
        model: the network, in evaluation mode.
        frames: for each view the frame ``(1, 3, h, w)``, or what ``encode_image`` made of it.
        frame_index: position in the video ``()`` int64.
        states: of the frame before, one for each view; empty before any object was given.
        rules: of the video.
        views: how each of ``frames`` was made.
        reach: see :func:`~stremn.sessions.postprocess.drop_far`; ``None`` for no post-processing.
        size: (H, W) of the frame.
        object_ids: of the objects known before.
        candidate: whether the template of the frame before competes for a chosen slot.
        given: masks of new objects ``(O', 1, H, W)``.
    """
    features = [f if isinstance(f, ImageFeatures) else model.encode_image(f) for f in frames]
    labels, probabilities = np.zeros(size, np.uint8), None
    grid = features[0].maps[0].shape[-2:] if is_plain(views) else torch.Size(size)
    if states:
        logits = [look(model, f, state) for f, state in zip(features, states, strict=True)]
        labels, probabilities = _together(model, logits, views, size, object_ids)
        if reach is not None:
            before = views[0].enlarge(states[0].previous, size)
            kept = drop_far(labels, winners(before, object_ids), reach)
            probabilities = _without(probabilities, labels, kept, object_ids)
            labels = kept
    if given is not None:
        probabilities = with_given(probabilities, given, grid)
    assert probabilities is not None
    after = []
    for view, seen, state in zip(views, features, states or [None] * len(views), strict=True):
        own = view.reduce(probabilities, seen.maps[0].shape[-2:])
        after.append(remember(model, seen, own, frame_index, state, rules, candidate))
    return Sight(labels, probabilities, tuple(after))


def _together(
    model: Segmenter,
    logits: Sequence[Tensor],
    views: Sequence[View],
    size: tuple[int, int],
    object_ids: tuple[int, ...],
) -> tuple[np.ndarray, Tensor]:
    """Labels and probabilities: of one view as :func:`advance` has them, of several at the frame's size."""
    owner = torch.zeros(len(object_ids), dtype=torch.long, device=logits[0].device)
    if is_plain(views):
        return label_map(logits[0], object_ids, size), model.aggregate(logits[0], owner, 1)
    total = torch.zeros((len(object_ids), 1, *size), device=owner.device)
    for view, seen in zip(views, logits, strict=True):
        total += model.aggregate(view.enlarge(seen, size), owner, 1)
    mean = total / len(views)
    return winners(mean, object_ids), mean


def _without(
    probabilities: Tensor, labels: np.ndarray, kept: np.ndarray, object_ids: tuple[int, ...]
) -> Tensor:
    """Probabilities from which an object's pixels that were taken away are gone, to the background."""
    if kept is labels:
        return probabilities
    gone = np.where(kept == labels, 0, labels)
    masks = torch.from_numpy(np.stack([gone == i for i in object_ids])).unsqueeze(1)
    masks = masks.to(probabilities.device, torch.float32)
    height, width = probabilities.shape[-2:]
    return probabilities * (1 - F.adaptive_avg_pool2d(masks, (height, width)))
