"""Which frame sat in which slot over time, and how old templates were (M12, Sec. 4.3)."""

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["MemoryHistory"]

CHOSEN = 2
"""Position of the first chosen slot in segmentation, after those of the first and the latest frame."""


class MemoryHistory:
    """What the memory held over a stream of any length, in bounded space.

    When ``limit`` moments are stored, every second one is dropped and from then on half as many are taken.

    Attributes:
        moments: by object id, pairs of a frame index and the frame in each slot after that frame. Slots of
            corrections come last, so that every other one keeps its place when they are added.
        corrections: how many those are.
        ages: how many chosen templates were ``t`` frames older than the frame that was looked up in them, by
            ``t``.

    Args:
        limit: most moments kept for an object, even.
        ages: ages are counted one by one up to this many frames; older templates share the last bin.
    """

    def __init__(self, limit: int = 1024, ages: int = 512) -> None:
        self.limit, self.every = limit, 1
        self.moments: dict[int, list[tuple[int, list[int]]]] = {}
        self.ages = np.zeros(ages + 1, np.int64)
        self.corrections = 0
        self._before: Mapping[int, Sequence[int]] = {}

    def add(self, frame_index: int, slots: Mapping[int, list[int]], corrections: int = 0) -> None:
        """Take in what the memory holds after a frame.

        Ages are counted in what it held before, since a frame is looked up before it is written (Fig. 1).

        Args:
            frame_index: of the frame.
            slots: by object id the frame index in every slot, -1 = empty.
            corrections: slots of corrected frames, see :class:`stremn.memory.MemoryLayout`.
        """
        last = 1 + corrections
        slots = {i: [*held[:1], *held[last:], *held[1:last]] for i, held in slots.items()}
        for object_id, held in slots.items():
            # An object that was given in this frame was not looked up.
            queried = self._before.get(object_id, ()) if held[0] != frame_index else ()
            chosen = queried[CHOSEN : len(queried) - self.corrections]
            ages = [frame_index - index for index in chosen if index >= 0]
            np.add.at(self.ages, np.minimum(ages, len(self.ages) - 1).astype(int), 1)
        self._before, self.corrections = slots, corrections
        if frame_index % self.every:
            return
        for object_id, held in slots.items():
            self.moments.setdefault(object_id, []).append((frame_index, held))
        if any(len(m) > self.limit for m in self.moments.values()):
            self.every *= 2
            self.moments = {
                i: [m for m in moments if m[0] % self.every == 0] for i, moments in self.moments.items()
            }

    def changes(self) -> dict[int, list[dict[int, int]]]:
        """The moments without what stayed: by object id, for each slot what it holds from which frame on."""
        found = {}
        for object_id, moments in self.moments.items():
            slots: list[dict[int, int]] = [{} for _ in moments[-1][1]]
            for frame, held in moments:
                for slot, index in zip(slots, held, strict=False):
                    if not slot or next(reversed(slot.values())) != index:
                        slot[frame] = index
            found[object_id] = slots
        return found

    def share_of_ages(self) -> np.ndarray:
        """``d^K[t]``: share of chosen templates that lie ``t`` frames before the query, sum 1 (or all 0)."""
        return self.ages / max(1, self.ages.sum())
