"""What stays the same for the whole of a video."""

from dataclasses import dataclass

import torch

from stremn.memory.policies import Policy
from stremn.memory.slots import MemoryLayout

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """What stays the same for the whole video.

    Attributes:
        layout: what the slots of a new object are for.
        policy: which chosen slot is replaced.
        noise: whether the learned choice is sampled, Eq. (3).
        generator: source of every random number.
    """

    layout: MemoryLayout
    policy: Policy
    noise: bool = False
    generator: torch.Generator | None = None
