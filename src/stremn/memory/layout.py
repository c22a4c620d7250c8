"""What the slots of a memory are for."""

from dataclasses import dataclass

__all__ = ["MemoryLayout"]


@dataclass(frozen=True)
class MemoryLayout:
    """How many slots there are and what they are for; the paper's K is their sum.

    The order in memory is permanent, latest, chosen. ``MemoryLayout()`` is the paper's for segmentation
    (K = 6, Sec. 4.1.1); ``MemoryLayout(False, False, 5)`` the paper's for prediction.

    Attributes:
        permanent: a slot for the frame where the object was given, never replaced.
        latest: a slot for the latest frame; what it held before competes for the chosen slots.
        chosen: slots whose owner a policy decides.

    Examples:
        >>> MemoryLayout().slots, MemoryLayout.of_slots(4).chosen
        (6, 2)
    """

    permanent: bool = True
    latest: bool = True
    chosen: int = 4

    def __post_init__(self) -> None:
        """Refuse a layout without a slot."""
        if self.chosen < 0 or self.slots < 1:
            raise ValueError(f"a memory needs at least one slot, got {self}")

    @property
    def slots(self) -> int:
        """K, the number of all slots."""
        return self.permanent + self.latest + self.chosen

    @property
    def latest_slot(self) -> int:
        """Position of the latest slot."""
        return int(self.permanent)

    @property
    def first_chosen(self) -> int:
        """Position of the first chosen slot; the others follow."""
        return self.permanent + self.latest

    @classmethod
    def of_slots(cls, slots: int) -> "MemoryLayout":
        """The segmentation layout with K slots in all, at least 2."""
        return cls(chosen=slots - 2)
