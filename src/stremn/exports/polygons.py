"""Outlines of masks as polygons, holes and parts included."""

import cv2
import numpy as np

__all__ = ["joined", "outlines"]

_TOLERANCE = 0.7  # pixels by which a polygon may leave the outline; the steps of a slanted edge are smaller


def outlines(mask: np.ndarray, *, through_centres: bool = False) -> list[np.ndarray]:
    """A polygon for each part of a mask, its holes cut in along a line of no width.

    Args:
        mask: ``(H, W)`` bool.
        through_centres: of the outermost pixels, the top left one at 0, as Pillow and LabelMe draw polygons;
            instead of around the pixels, of which the top left one goes from 0 to 1.

    Returns:
        ``(N, 2)`` float64 x and y in pixels each, N is 3 or more.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    part = mask[top : top + height, left : left + width].view(np.uint8)
    if not through_centres:
        # OpenCV goes from centre to centre. Of pixels cut in four, the quarter tells the corner.
        part = part.repeat(2, axis=0).repeat(2, axis=1)
    found, tree = cv2.findContours(np.ascontiguousarray(part), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corners = [contour[:, 0] if through_centres else (contour[:, 0] + 1) // 2 for contour in found]
    polygons = [_simple(points) + np.array([left, top]) for points in corners]
    parents = [] if tree is None else tree[0, :, 3]
    parts = {number: polygons[number] for number, parent in enumerate(parents) if parent < 0}
    for number, parent in enumerate(parents):
        if parent >= 0:
            parts[parent] = joined([parts[parent], polygons[number]])
    return list(parts.values())


def _simple(corners: np.ndarray) -> np.ndarray:
    """The corners without those that hardly matter, ``(N, 2)`` float64, three at least."""
    few = cv2.approxPolyDP(corners.astype(np.int32)[:, None], _TOLERANCE, closed=True)[:, 0]
    few = few if len(few) > 2 else corners
    return np.resize(few, (max(len(few), 3), 2)).astype(np.float64)


def joined(polygons: list[np.ndarray]) -> np.ndarray:
    """Polygons ``(N, 2)`` as one, each reached along a line of no width from the corner nearest to it."""
    whole = polygons[0]
    for polygon in polygons[1:]:
        apart = ((whole[:, None] - polygon[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(apart.argmin(), apart.shape)
        visit = np.roll(polygon, -there, axis=0)
        whole = np.concatenate([whole[: here + 1], visit, visit[:1], whole[here:]])
    return whole
