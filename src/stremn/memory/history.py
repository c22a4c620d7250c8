"""Which frame sat in which slot over time, and how old templates were (M12, Sec. 4.3)."""

import numpy as np

__all__ = ["MemoryHistory"]


class MemoryHistory:
    """What the memory held over a stream of any length, in bounded space.

    When ``limit`` moments are stored, every second one is dropped and from then on half as many are taken.

    Args:
        limit: most moments kept for an object, even.
        ages: ages are counted one by one up to this many frames; older templates share the last bin.
    """

    def __init__(self, limit: int = 1024, ages: int = 512) -> None:
        """Empty."""
        self.limit, self.every = limit, 1
        self.moments: dict[int, list[tuple[int, list[int]]]] = {}
        self.ages = np.zeros(ages + 1, np.int64)

    def add(self, frame_index: int, slots: dict[int, list[int]]) -> None:
        """Take in the frame index of every slot (-1 = empty) of every object after ``frame_index``."""
        for held in slots.values():
            # Sec. 4.3 leaves out the first and the previous frame: they are there by construction.
            ages = [frame_index - f for f in held[1:] if 0 <= f < frame_index]
            np.add.at(self.ages, np.minimum(ages, len(self.ages) - 1).astype(int), 1)
        if frame_index % self.every:
            return
        for object_id, held in slots.items():
            self.moments.setdefault(object_id, []).append((frame_index, held))
        if any(len(m) > self.limit for m in self.moments.values()):
            self.every *= 2
            self.moments = {
                i: [m for m in moments if m[0] % self.every == 0] for i, moments in self.moments.items()
            }

    def share_of_ages(self) -> np.ndarray:
        """``d^K[t]``: share of chosen templates that lie ``t`` frames before the query, sum 1 (or all 0)."""
        return self.ages / max(1, self.ages.sum())
