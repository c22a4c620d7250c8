"""Ways of looking at the frames of a video (V7), and what they agree on after post-processing (V6)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.models import ImageFeatures, SegmentationState, Segmenter
from stremn.models.segmenter import with_given
from stremn.sessions.labels import label_map, winners
from stremn.sessions.postprocess import drop_far

__all__ = ["MULTI_SCALE", "ONE_VIEW", "Consensus", "View", "is_plain"]


@dataclass(frozen=True)
class View:
    """A factor on the internal resolution, mirrored or not. Each view has a slot memory of its own.

    Attributes:
        scale: factor on the session's ``size``, > 0.
        flip: whether left and right are exchanged.
    """

    scale: float = 1.0
    flip: bool = False

    def turn(self, maps: Tensor) -> Tensor:
        """Maps ``(…, h, w)`` as this view has them, or back: mirroring is its own inverse."""
        return maps.flip(-1) if self.flip else maps

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits of this view ``(O, 1, h', w')`` at the frame's size and the right way round."""
        return self.turn(F.interpolate(logits, size=size, mode="bilinear", align_corners=False))


ONE_VIEW = (View(),)
"""The frame as it is."""

MULTI_SCALE = tuple(View(scale, flip) for scale in (1.0, 1.15, 1.3, 1.5) for flip in (False, True))
"""Multi-scale and flip testing as in CFBI (https://arxiv.org/abs/2003.08333), V7: eight views."""


def is_plain(views: Sequence[View]) -> bool:
    """Whether there is nothing to average: one view that is not mirrored."""
    return len(views) == 1 and not views[0].flip


@dataclass
class Consensus:
    """What all views of a frame go on with: a function of their logits, as ``Segmenter.observe`` takes it.

    The probabilities of the views are averaged at the frame's size, after soft aggregation in each; what is
    left of the average after post-processing is what every view's memory is fed with, and the next frame's
    guidance. So a pixel that was taken away is never remembered.

    Attributes:
        views: how each of the features was made.
        features: of the frame, by view.
        states: of the frame before, by view; empty before any object was given.
        size: (H, W) of the frame.
        object_ids: of the objects known before.
        reach: of the post-processing, see :func:`~stremn.sessions.postprocess.drop_far`; ``None`` for none.
        given: masks of new objects ``(O', 1, H, W)``, ``None`` if there are none.
        labels: once called, the winning id among the objects known before ``(H, W)`` uint8.
        probabilities: once called, of all objects ``(O, 1, h', w')`` float32: at the frame's size with
            several views, of the logits' with a plain one.
    """

    views: Sequence[View]
    features: Sequence[ImageFeatures]
    states: Sequence[SegmentationState]
    size: tuple[int, int]
    object_ids: tuple[int, ...]
    reach: float | None
    given: Tensor | None
    labels: np.ndarray = field(init=False)
    probabilities: Tensor = field(init=False)

    def __call__(self, logits: Sequence[Tensor]) -> list[Tensor]:
        """Probabilities of all objects for each view, of the size of its logits."""
        self.labels, found = np.zeros(self.size, np.uint8), None
        if logits:
            self.labels, found = self._together(logits)
            if self.reach is not None:
                before = self.views[0].enlarge(self.states[0].previous, self.size)
                kept = drop_far(self.labels, winners(before, self.object_ids), self.reach)
                found = self._without(found, kept)
                self.labels = kept
        if self.given is not None:
            plain = is_plain(self.views)
            found = with_given(found, self.given, self.features[0].logit_size if plain else self.size)
        assert found is not None
        self.probabilities = found
        pairs = zip(self.views, self.features, strict=True)
        return [Segmenter.resize(view.turn(found), seen.logit_size) for view, seen in pairs]

    def _together(self, logits: Sequence[Tensor]) -> tuple[np.ndarray, Tensor]:
        """Labels and probabilities: of a plain view as they are, of several at the frame's size."""
        if is_plain(self.views):
            return label_map(logits[0], self.object_ids, self.size), Segmenter.aggregate(logits[0])
        total = torch.zeros(
            (len(self.object_ids), 1, *self.size), dtype=torch.float32, device=logits[0].device
        )
        for view, seen in zip(self.views, logits, strict=True):
            total += Segmenter.aggregate(view.enlarge(seen, self.size))
        mean = total / len(self.views)
        return winners(mean, self.object_ids), mean

    def _without(self, probabilities: Tensor, kept: np.ndarray) -> Tensor:
        """Probabilities from which an object's pixels that were taken away are gone, to the background."""
        if kept is self.labels:
            return probabilities
        gone = np.where(kept == self.labels, 0, self.labels)
        masks = torch.from_numpy(np.stack([gone == i for i in self.object_ids])).unsqueeze(1)
        masks = masks.to(probabilities.device, torch.float32)
        height, width = probabilities.shape[-2:]
        return probabilities * (1 - F.adaptive_avg_pool2d(masks, (height, width)))
