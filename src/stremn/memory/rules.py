"""What stays the same for the whole of a video."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stremn.memory.policies import Policy
from stremn.memory.slots import MemoryLayout

__all__ = ["Rules", "surely_visible"]


@dataclass(frozen=True)
class Rules:
    """What stays the same for the whole video.

    Attributes:
        layout: what the slots of a new object are for.
        policy: which chosen slot is replaced.
        certainty: how sure of its pixels an object must be for its template to be written, 0 to 1; see
            :func:`stremn.memory.surely_visible`.
        noise: whether the learned choice is sampled, Eq. (3).
        generator: source of every random number.
    """

    layout: MemoryLayout
    policy: Policy
    certainty: float = 0.0
    noise: bool = False
    generator: torch.Generator | None = None


def surely_visible(probabilities: Tensor, certainty: float) -> Tensor:
    """Which objects a frame shows surely enough for its template to be worth keeping.

    A template made while an object is hidden or lost says that the object is nowhere, also where it comes
    back, and would keep it from ever being found again.

    Args:
        probabilities: of the objects ``(O, 1, h, w)``.
        certainty: least mean probability of the pixels that an object has, those above one half.

    Returns:
        ``(O,)`` bool; False for an object without a pixel.
    """
    own = probabilities > 0.5
    pixels = own.flatten(1).sum(dim=1)
    mean = (probabilities * own).flatten(1).sum(dim=1) / pixels.clamp_min(1)
    return (pixels > 0) & (mean >= certainty)
