"""Where in a frame an object is looked for, an addition to the paper.

Most of a frame is not the object and not near it, and nothing that is computed there for this object changes
what it is. The region around it holds all that does; single-object trackers call it the search region. A
window lies around all objects; no region goes beyond it, and what they share is computed in it alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["WORTH", "Region", "Window", "regions_of", "share_of", "window_of"]

MARGIN, GROWTH = 3, 0.15
"""Cells of the memory's grid around an object, and shares of its height and width that are added to them."""

BORDER = 1
"""Cells along the edge of a region that are not kept: they were computed without what is beside them."""

WINDOW, SNAP = 3, 2
"""Cells around all objects in a window, and of what number of cells its edges are multiples."""

WORTH = 0.75
"""Share of the work in all of the frame up to which regions, looked at one by one, take less time."""

SEEN = 0.3
"""Least probability of a pixel from which an object goes on."""

EVERYWHERE = 3
"""Most objects that are looked for in all of a frame, where others are looked for around where they were."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the grid of the memory's positions.

    Attributes:
        rows: first and, exclusive, last.
        columns: likewise.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]

    def paste(self, maps: Tensor, part: Tensor, grid: tuple[int, int]) -> None:
        """Write a part of maps ``(…, n·H, n·W)`` in place, all but its border where the frame goes on."""
        stride = maps.shape[-2] // grid[0]
        inner = [
            (BORDER * (first > 0), last - first - BORDER * (last < whole))
            for (first, last), whole in zip((self.rows, self.columns), grid, strict=True)
        ]
        (top, bottom), (left, right) = ((stride * first, stride * last) for first, last in inner)
        self.cut(maps, grid)[..., top:bottom, left:right] = part[..., top:bottom, left:right]

    def cut(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """This part of maps ``(…, n·H, n·W)`` for a grid (H, W), a view."""
        stride = maps.shape[-2] // grid[0]
        (top, bottom), (left, right) = self.rows, self.columns
        return maps[..., stride * top : stride * bottom, stride * left : stride * right]


@dataclass(frozen=True)
class Window(Region):
    """The part of a frame that is looked at, around all objects.

    Attributes:
        grid: (H, W) of all of the frame.
    """

    grid: tuple[int, int]

    def of(self, maps: Tensor) -> Tensor:
        """This part of maps of the frame, a view."""
        return self.cut(maps, self.grid)

    def on(self, maps: Tensor, part: Tensor) -> Tensor:
        """A copy of maps of the frame with this part of them replaced, all but its border."""
        maps = maps.clone()
        self.paste(maps, part, self.grid)
        return maps


def window_of(masks: Tensor, grid: tuple[int, int], near: Sequence[bool]) -> Window | None:
    """The window around all objects; ``None`` if not all are near, or if it would be nearly all of the frame.

    Args:
        masks: see :func:`regions_of`.
        grid: see there.
        near: see there.
    """
    if not near or not all(near):
        return None
    seen = F.adaptive_max_pool2d(masks, grid)[:, 0] > SEEN
    if not bool(seen.flatten(1).any(dim=1).all()):
        return None
    every, spans = seen.any(dim=0), []
    for by, length in ((1, grid[0]), (0, grid[1])):
        marks = every.any(dim=by).nonzero()
        first, last = int(marks[0]) - WINDOW, int(marks[-1]) + 1 + WINDOW
        spans.append((max(0, first // SNAP * SNAP), min(length, -(-last // SNAP) * SNAP)))
    window = Window(spans[0], spans[1], grid)
    return window if share_of([window], grid) <= WORTH else None


def regions_of(
    masks: Tensor, grid: tuple[int, int], near: Sequence[bool], turn: int | Tensor = 0
) -> list[Region]:
    """The region of each object: around where it was seen last, all of the frame where that is nowhere.

    Of more than :data:`EVERYWHERE` objects to be looked for in all of the frame, as many are in turn, and the
    others around where they are likeliest. There are none if they would be more than :data:`WORTH` of the
    frame.

    Args:
        masks: of the objects ``(O, 1, h, w)`` in [0, 1].
        grid: (H, W).
        near: False for an object that is looked for in all of the frame; empty for all of them, however many.
        turn: number of the frame.
    """
    if not near:
        return []
    likely = F.adaptive_max_pool2d(masks, grid)[:, 0]
    seen = (likely > SEEN) & torch.tensor(near, device=masks.device)[:, None, None]
    nowhere = (~seen.flatten(1).any(dim=1)).nonzero()[:, 0]
    if len(nowhere) > EVERYWHERE:
        waiting = nowhere.roll(-int(turn))[EVERYWHERE:]
        best = likely.flatten(1).amax(dim=1)[:, None, None].clamp(max=SEEN)
        seen[waiting] = (likely >= best)[waiting]
    spans = (_span(seen.any(dim=by).tolist(), n) for by, n in ((2, grid[0]), (1, grid[1])))
    regions = [Region(*pair) for pair in zip(*spans, strict=True)]
    return regions if share_of(regions, grid) <= WORTH else []


def share_of(regions: Sequence[Region], grid: tuple[int, int]) -> float:
    """Mean share of the frame that regions have."""
    areas = [(r.rows[1] - r.rows[0]) * (r.columns[1] - r.columns[0]) for r in regions]
    return sum(areas) / (grid[0] * grid[1] * len(areas))


def _span(seen: list[list[bool]], length: int) -> list[tuple[int, int]]:
    found = []
    for marks in seen:
        if not any(marks):
            found.append((0, length))
            continue
        first, last = marks.index(True), length - marks[::-1].index(True)
        margin = round(MARGIN + GROWTH * (last - first))
        found.append((max(0, first - margin), min(length, last + margin)))
    return found
