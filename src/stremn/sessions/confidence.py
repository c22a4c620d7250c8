"""How sure a session is that it follows an object rightly, and when it says that the object is lost.

Every few frames the object is found a second time, by what was given of it alone: the frames whose masks
came from outside, without later templates and without where it was before. Where that agrees with what is
followed, it is right; an error that crept into the memory does not confirm itself.
"""

from collections.abc import Sequence

from torch import Tensor

from stremn.models import ImageFeatures, SegmentationState, Segmenter
from stremn.models.region import regions_of

__all__ = ["CHECK_EVERY", "SURE", "check"]

CHECK_EVERY = 3
"""Frames from one check to the next; each costs a tenth to a quarter of a frame's time."""

SURE = 0.8
"""The confidence from which an object is looked for only around where it was."""

INERTIA = 0.5
"""Share of the confidence before in that after a check, so that one frame alone raises no alarm."""

SLOPE, OFFSET = 4.4, -0.9
"""From the agreement to the log-odds that the region similarity is at least 0.3, fitted to sequences that
were not trained on; see the results page."""


def check(
    model: Segmenter,
    features: ImageFeatures,
    state: SegmentationState,
    before: Tensor,
    near: Sequence[bool] = (),
) -> Tensor:
    """The confidence in each object after a check ``(O,)`` float32.

    Args:
        model: of the session.
        features: of the frame.
        state: after the frame.
        before: the confidence in each object before it ``(O,)`` float32.
        near: see :meth:`stremn.models.Segmenter.observe`.
    """
    regions = regions_of(state.previous, features.grid, near)
    logits = model.segment(features, state.given_alone(), guide=False, regions=regions)
    again = model.aggregate(logits) > 0.5
    found = state.previous > 0.5
    both, either = ((a.flatten(1).sum(dim=1)) for a in (again & found, again | found))
    right = (SLOPE * both / either.clamp_min(1) + OFFSET).sigmoid() * found.flatten(1).any(dim=1)
    return INERTIA * before + (1 - INERTIA) * right
