"""How sure a session is that it follows an object rightly, and when it says that the object is lost."""

from torch import Tensor

from stremn.models import SegmentationState

__all__ = ["LOST", "followed_rightly", "smoothed"]

LOST = 0.5
"""The confidence below which an object is called lost."""

MEMORY = 0.6
"""Share of the confidence of the frame before in that of a frame."""


def followed_rightly(state: SegmentationState) -> Tensor:
    """Probability by one frame that each object is followed rightly ``(O,)`` float32.

    Args:
        state: after the frame.
    """
    own = state.previous > 0.5
    pixels = own.flatten(1).sum(dim=1)
    return (state.previous * own).flatten(1).sum(dim=1) / pixels.clamp_min(1)


def smoothed(before: float, now: float) -> float:
    """The confidence of a frame from that of the frame before and the probability by this one."""
    return MEMORY * before + (1 - MEMORY) * now
