"""How sure a session is that it follows an object rightly, and when it says that the object is lost.

Every few frames the object is found a second time, by what was given of it alone: the frames whose masks
came from outside, without later templates and without where it was before. Where that agrees with what is
followed, it is right; an error that crept into the memory does not confirm itself.
"""

from torch import Tensor

from stremn.models import ImageFeatures, SegmentationState, Segmenter

__all__ = ["CHECK_EVERY", "SURE", "check"]

CHECK_EVERY = 3
"""Frames from one check to the next."""

SURE = 0.7
"""The confidence from which an object is looked for only around where it was."""

INERTIA = 0.5
"""Share of the confidence before in that after a check, so that one check alone raises no alarm."""

SLOPE, OFFSET = 9.8, -1.2
"""From the agreement to the log-odds that the region similarity is at least 0.3, fitted to sequences that
were not trained on; see the results page."""


def check(model: Segmenter, features: ImageFeatures, state: SegmentationState, before: Tensor) -> Tensor:
    """The confidence in each object after a check ``(O,)`` float32.

    Args:
        model: of the session.
        features: of the frame.
        state: after the frame.
        before: the confidence in each object before it ``(O,)`` float32.
    """
    again = model.find_again(features, state)
    found = model.resize(state.previous, again.shape)
    # The Jaccard index for shares in place of yes and no: products take little notice of faint guesses.
    both, *own = (m.flatten(1).sum(dim=1) for m in (again * found, again**2, found**2))
    agreement = both / (sum(own) - both).clamp_min(1e-6)
    right = (SLOPE * agreement + OFFSET).sigmoid() * (state.previous > 0.5).flatten(1).any(dim=1)
    return INERTIA * before + (1 - INERTIA) * right
