"""What stays the same for the whole of a video."""

from dataclasses import dataclass

import torch

from stremn.memory.fusion import NO_FUSION
from stremn.memory.layout import MemoryLayout
from stremn.memory.policies import Policy

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """How the memory of a video is run.

    Attributes:
        layout: what the slots of a new object are for.
        policy: which chosen slot is replaced.
        certainty: how sure of its pixels an object must be for its template to be written, 0 to 1; an
            addition to the paper, see :func:`stremn.memory.surely_visible`.
        noise: whether the learned choice is sampled, Eq. (3).
        generator: source of every random number.
        tau: temperature of that sample; the paper uses 1.
        fusion: which templates take up what a replaced one held, one of :data:`~stremn.memory.FUSIONS`.
    """

    layout: MemoryLayout
    policy: Policy
    certainty: float = 0.0
    noise: bool = False
    generator: torch.Generator | None = None
    tau: float = 1.0
    fusion: str = NO_FUSION
