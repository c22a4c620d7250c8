"""Where small objects are followed: in a crop that goes along with them, an addition to the paper.

In all of a frame a small object is a few positions of the memory. A crop shows it larger, at a fraction of
the work. Several that are together are followed in one crop.
"""

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np

__all__ = ["Crop", "largest"]

LINES, SEVERAL = 288, 480
"""Internal resolution of a crop of one object, and of several."""

ROOTS, LEAST = 7, 96
"""Side of a crop: in square roots of the object's area, and the least one in pixels of the frame."""

AROUND, SPREAD = 4, 0.9
"""Of several objects: what the side has beyond their extent, in square roots of the area of the largest, and
the share of it up to which their extent may grow."""

WORTH = 0.75
"""Share of a frame's shorter side up to which a crop is taken."""

FILLED = 0.35
"""Root of an object's area, in sides of the crop, up to which the object stays in it."""


@dataclass(frozen=True)
class Crop:
    """A square of a frame, in its pixels.

    Attributes:
        top: its first row.
        left: its first column.
        side: height and width.
        lines: its internal resolution.
    """

    top: int
    left: int
    side: int
    lines: int = LINES

    @classmethod
    def of(cls, *masks: np.ndarray) -> Self | None:
        """The crop of objects ``(H, W)`` bool; ``None`` if they are too large for one, or too far apart."""
        every, root = np.any(masks, axis=0), max(map(np.count_nonzero, masks)) ** 0.5
        side, lines = max(LEAST, ROOTS * root), LINES
        if len(masks) > 1:
            side, lines = max(side, np.ptp(np.argwhere(every), axis=0).max() + AROUND * root), SEVERAL
        return cls(0, 0, round(side), lines).around(every) if side <= WORTH * min(every.shape) else None

    def around(self, mask: np.ndarray) -> Self | None:
        """The crop with objects ``(H, W)`` bool in its middle; ``None`` if they are too large for it."""
        places = np.argwhere(mask)
        if self.lines == SEVERAL:
            low, high = places.min(axis=0), places.max(axis=0)
            middle, fits = (low + high) // 2, (high - low).max() <= SPREAD * self.side
        else:
            middle, fits = places.mean(axis=0).round(), len(places) <= (FILLED * self.side) ** 2
        if not fits:
            return None
        room = np.array(mask.shape) - self.side
        top, left = np.clip(middle - self.side // 2, 0, room).astype(int).tolist()
        return replace(self, top=top, left=left)

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """What of ``(H, W, …)`` is in the crop, a view."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]

    def paste(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Pixels of the crop ``(side, side)`` in a frame (H, W) of zeros."""
        whole = np.zeros(size, pixels.dtype)
        self.cut(whole)[:] = pixels
        return whole


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask ``(H, W)`` bool that hangs together."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    return parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
