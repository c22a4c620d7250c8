"""What stays the same for the whole of a video: what the slots are for, and who decides over them."""

from dataclasses import dataclass

import torch

from stremn.memory.fusion import NO_FUSION
from stremn.memory.policies import Policy

__all__ = ["MemoryLayout", "Rules"]


@dataclass(frozen=True)
class MemoryLayout:
    """How many slots there are and what they are for; the paper's K is their sum.

    The order in memory is permanent, corrections, latest, chosen. ``MemoryLayout()`` is the paper's for
    segmentation (K = 6, Sec. 4.1.1); ``MemoryLayout(False, False, 5)`` the paper's for prediction.

    Attributes:
        permanent: a slot for the frame where the object was given, never replaced.
        latest: a slot for the latest frame; what it held before competes for the chosen slots.
        chosen: slots whose owner a policy decides.
        corrections: slots for frames where the object was corrected, an addition to the paper; they are
            allocated by the first corrections of a video and kept like the permanent one.

    Examples:
        >>> MemoryLayout().slots, MemoryLayout.of_slots(4).chosen
        (6, 2)
    """

    permanent: bool = True
    latest: bool = True
    chosen: int = 4
    corrections: int = 0

    def __post_init__(self) -> None:
        """Refuse a layout without a slot."""
        if self.chosen < 0 or self.slots < 1:
            raise ValueError(f"a memory needs at least one slot, got {self}")

    @property
    def slots(self) -> int:
        """K, the number of all slots."""
        return self.first_chosen + self.chosen

    @property
    def given(self) -> int:
        """Slots of frames whose mask was given, the first ones: permanent and corrections."""
        return self.permanent + self.corrections

    @property
    def latest_slot(self) -> int:
        """Position of the latest slot."""
        return self.given

    @property
    def first_chosen(self) -> int:
        """Position of the first chosen slot; the others follow."""
        return self.given + self.latest

    @classmethod
    def of_slots(cls, slots: int) -> "MemoryLayout":
        """The segmentation layout with K slots in all, at least 2."""
        return cls(chosen=slots - 2)


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
        candidate_every: every how many frames the template of the latest slot competes.
        readout: False puts zeros in the place of all that a prediction model reads from the memory, to
            measure what that is worth.
    """

    layout: MemoryLayout
    policy: Policy
    certainty: float = 0.0
    noise: bool = False
    generator: torch.Generator | None = None
    tau: float = 1.0
    fusion: str = NO_FUSION
    candidate_every: int = 1
    readout: bool = True

    def candidate(self, frame_index: int, before: int) -> bool:
        """Whether the latest template competes at a frame, as its turn came since the frame ``before``."""
        return (frame_index - 1) // self.candidate_every > (before - 1) // self.candidate_every
