"""A mask from the colours of the picture alone, by GrabCut (https://doi.org/10.1145/1015706.1015720)."""

import cv2
import numpy as np

__all__ = ["grab_cut"]

ITERATIONS = 5
LONGEST = 480
"""Side of what is cut, in pixels: more is slower and no better."""
NEAR = 10
"""Share of the shorter side that is near a point."""


def grab_cut(
    image: np.ndarray,
    box: tuple[int, int, int, int] | None,
    seeds: np.ndarray,
    likely: np.ndarray | None = None,
) -> np.ndarray:
    """Cut the object out of its surroundings.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        box: left, top, right, bottom, outside of which there is no object; ``None`` is the whole picture.
        seeds: ``(H, W)`` int8, 1 on the object, -1 beside it, 0 not said.
        likely: ``(H, W)`` bool, where the object is to begin with; ``None`` is all of the box, or what is
            near the seeds.

    Returns:
        ``(H, W)`` bool.
    """
    height, width = seeds.shape
    left, top, right, bottom = box or (0, 0, width, height)
    # Surroundings as wide as the box say what is not the object; more of them is only slower.
    rows = slice(max(top - (bottom - top), 0), 2 * bottom - top)
    columns = slice(max(left - (right - left), 0), 2 * right - left)
    inside = np.zeros((height, width), bool)
    inside[top:bottom, left:right] = True
    if likely is None:
        likely = inside if box else _near(seeds > 0)
    state = np.where(inside, np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD), cv2.GC_BGD).astype(np.uint8)
    state, part = state[rows, columns], np.ascontiguousarray(image[rows, columns])
    seen = np.ascontiguousarray(seeds[rows, columns])
    factor = min(1.0, LONGEST / max(state.shape))
    small = (max(1, round(state.shape[1] * factor)), max(1, round(state.shape[0] * factor)))
    part = np.asarray(cv2.resize(part, small, interpolation=cv2.INTER_AREA))
    state = np.asarray(cv2.resize(state, small, interpolation=cv2.INTER_NEAREST), np.uint8)
    # A click is wider than a pixel, and must survive scaling down.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    for sign, value in ((1, cv2.GC_FGD), (-1, cv2.GC_BGD)):
        y, x = np.nonzero(seen == sign)
        said = np.zeros_like(state)
        said[
            (y * factor).astype(int).clip(0, small[1] - 1), (x * factor).astype(int).clip(0, small[0] - 1)
        ] = 1
        state[cv2.dilate(said, disc) > 0] = value
    if _has_both(state):
        cv2.setRNGSeed(0)
        bgr, ground, figure = np.ascontiguousarray(part[..., ::-1]), np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(bgr, state, (0, 0, 0, 0), ground, figure, ITERATIONS, cv2.GC_INIT_WITH_MASK)
    found = ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)).astype(np.float32)
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = cv2.resize(found, seen.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    mask &= inside
    mask[seeds != 0] = seeds[seeds != 0] > 0
    return mask


def _near(said: np.ndarray) -> np.ndarray:
    reach = min(said.shape) // NEAR
    return cv2.distanceTransform((~said).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= reach


def _has_both(state: np.ndarray) -> bool:
    """Whether there is anything to tell apart: GrabCut needs pixels of both kinds."""
    object_pixels = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).sum()
    return 5 <= object_pixels <= state.size - 5
