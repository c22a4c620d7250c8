"""What a person draws to show an object, checked against the picture.

Coordinates are pixels from the upper left corner of the picture, x to the right and y down: the pixel of
column 3 and row 5 covers 3 to 4 and 5 to 6, and the point (3.5, 5.5) is its middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stremn.data.segmentation.coco import draw_instance
from stremn.errors import StremnError

__all__ = ["Prompt", "Size"]

Size = tuple[int, int]


@dataclass(frozen=True)
class Prompt:
    """How one object is shown in one picture.

    Attributes:
        box: ``(x, y, width, height)``; what juts out of the picture is cut off.
        points: ``(x, y)`` on the object, or ``(x, y, positive)``, which is False beside it.
        scribbles: lines on the object, or beside it: each several points, joined.
        polygons: ``(x, y)`` corners of each part of the object. Polygons and areas are the mask itself.
        areas: the same as COCO's segmentations, polygons or run lengths, see
            :func:`stremn.data.segmentation.coco.draw_instance`.
    """

    box: Sequence[float] | None = None
    points: Sequence[Sequence[float]] = ()
    scribbles: Sequence[Sequence[Sequence[float]]] = ()
    polygons: Sequence[Sequence[Sequence[float]]] = ()
    areas: Sequence[Any] = ()

    @property
    def mends(self) -> bool:
        """Whether it can change a mask that the object has: it is of points and scribbles only."""
        return self.box is None and not self.polygons and not self.areas

    def box_in(self, size: Size) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of the box in whole pixels of a picture ``(H, W)``.

        Raises:
            StremnError: if it is empty or outside the picture.
        """
        if self.box is None:
            return None
        left, top, width, height = _numbers(self.box, 4, "a box is x,y,width,height")
        named = f"box {_listed(self.box)}"
        if width <= 0 or height <= 0:
            raise StremnError(f"{named} is empty: give x,y,width,height with a width and a height above 0")
        right, bottom = (
            min(int(np.ceil(end)), side) for end, side in zip((left + width, top + height), size[::-1])
        )
        left, top = (max(int(np.floor(start)), 0) for start in (left, top))
        if left >= right or top >= bottom:
            raise StremnError(_outside(named, size))
        return left, top, right, bottom

    def seeds(self, size: Size) -> np.ndarray:
        """Where a picture ``(H, W)`` is said to be object, 1, or not, -1: ``(H, W)`` int8; 0 is not said.

        Raises:
            StremnError: if a point is outside the picture, or said to be both.
        """
        drawn = {True: np.zeros(size, np.uint8), False: np.zeros(size, np.uint8)}
        for stroke in [[point] for point in self.points] + [list(line) for line in self.scribbles if line]:
            positive, *others = {bool(point[2]) if len(point) > 2 else True for point in stroke}
            if others:
                raise StremnError("a scribble has points on the object and beside it: make two of it")
            corners = []
            for point in stroke:
                x, y = _numbers(point[:2], 2, "a point is x,y")
                if not (0 <= x < size[1] and 0 <= y < size[0]):
                    raise StremnError(_outside(f"point {_listed(point[:2])}", size))
                corners.append((int(x), int(y)))
            for start, end in zip(corners, corners[1:] or corners):
                cv2.line(drawn[positive], start, end, 1)
        both = np.argwhere(drawn[True] & drawn[False])
        if len(both):
            y, x = both[0].tolist()
            raise StremnError(
                f"point {x},{y} is said to be on the object and beside it: take one of them away"
            )
        return drawn[True].astype(np.int8) - drawn[False].astype(np.int8)

    def drawn(self, size: Size) -> np.ndarray | None:
        """Polygons and areas filled ``(H, W)`` bool, by the middle of each pixel; ``None`` if there are none.

        Raises:
            StremnError: if one cannot be drawn, or they cover no pixel.
        """
        if not self.polygons and not self.areas:
            return None
        flat = []
        for polygon in self.polygons:
            if len(polygon) < 3:
                raise StremnError(f"a polygon of {len(polygon)} corners is empty: give three or more")
            flat.append([v for corner in polygon for v in _numbers(corner, 2, "a corner is x,y")])
        try:
            parts = [draw_instance(area, *size) for area in [flat, *self.areas]]
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise StremnError(
                f"its segmentation cannot be drawn on {size[1]}x{size[0]} pixels ({error}): "
                "give polygons, or run lengths of that size"
            ) from error
        mask: np.ndarray = np.max(parts, axis=0) > 0
        if not mask.any():
            raise StremnError(_outside("the polygon covers no pixel and", size))
        return mask


def _numbers(values: Any, count: int, form: str) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise StremnError(f"{form} in pixels, not {values!r}")
    return numbers


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{float(value):g}" for value in values)


def _outside(what: str, size: Size) -> str:
    return f"{what} lies outside the picture of {size[1]}x{size[0]} pixels: count from its upper left corner"
