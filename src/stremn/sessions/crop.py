"""Where a small object is followed: in a crop that goes along with it, an addition to the paper.

In all of a frame a small object is a few positions of the memory. A crop shows it larger, at a fraction of
the work.
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

__all__ = ["LINES", "Crop", "largest"]

LINES = 288
"""Internal resolution of a crop."""

ROOTS, LEAST = 7, 96
"""Side of a crop: in square roots of the object's area, and the least one in pixels of the frame."""

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
    """

    top: int
    left: int
    side: int

    @classmethod
    def of(cls, mask: np.ndarray) -> Self | None:
        """The crop of an object ``(H, W)`` bool; ``None`` if it is too large for one."""
        side = round(max(LEAST, ROOTS * np.count_nonzero(mask) ** 0.5))
        return cls(0, 0, side).around(mask) if side <= WORTH * min(mask.shape) else None

    def around(self, mask: np.ndarray) -> Self | None:
        """The crop with an object ``(H, W)`` bool in its middle; ``None`` if that is too large for it."""
        places = np.argwhere(mask)
        if len(places) > (FILLED * self.side) ** 2:
            return None
        room = np.array(mask.shape) - self.side
        top, left = np.clip(places.mean(axis=0).round() - self.side // 2, 0, room).astype(int).tolist()
        return type(self)(top, left, self.side)

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
