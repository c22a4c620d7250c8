"""The border of an object after the colours of the picture, by GrabCut (https://doi.org/10.1145/1015706.1015720)."""

import cv2
import numpy as np

__all__ = ["cut_border"]

ITERATIONS = 2
SIDE = 256
"""Most pixels of the longer side of what is cut: more is slower and no better."""

BAND = 0.02
"""By the longer side of the object, the deviation of the blur that makes its border uncertain."""

SURE = 0.98
"""Of the blurred mask: what lies beyond is not decided again."""

REACH = 0.15
"""By the longer side of the object, how far around a point everything is decided again."""


def cut_border(frame: np.ndarray, mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Decide pixels near the border of a mask, and near points, again by colours.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB.
        mask: ``(H, W)`` bool.
        seeds: ``(H, W)`` int8, 1 on the object, -1 beside it, 0 not said; they hold.

    Returns:
        ``(H, W)`` bool.
    """
    left, top, width, height = cv2.boundingRect((mask | (seeds > 0)).view(np.uint8))
    longer = max(width, height)
    margin = longer // 4 + 2
    part = np.s_[max(top - margin, 0) : top + height + margin, max(left - margin, 0) : left + width + margin]
    blurred = cv2.GaussianBlur(mask[part].astype(np.float32), (0, 0), max(2, BAND * longer))
    rows, columns = blurred.shape
    factor = min(1, SIDE / max(rows, columns))
    small = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    colours = np.asarray(cv2.resize(frame[part], small, interpolation=cv2.INTER_AREA))
    share = np.asarray(cv2.resize(blurred, small, interpolation=cv2.INTER_AREA))
    state = np.where(share > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    said = np.zeros((2, *state.shape), np.uint8)
    y, x = np.nonzero(seeds[part])
    down, across = (
        np.minimum((places * factor).astype(int), side - 1) for places, side in ((y, small[1]), (x, small[0]))
    )
    said[(seeds[part][y, x] < 0).astype(int), down, across] = 1
    far = np.ones_like(state)
    if len(y):
        far = cv2.distanceTransform(1 - said.max(axis=0), cv2.DIST_L2, 5) > REACH * longer * factor
    state[(share > SURE) & (far > 0)], state[(share < 1 - SURE) & (far > 0)] = cv2.GC_FGD, cv2.GC_BGD
    # A point is wider than a pixel.
    for one, value in zip(said, (cv2.GC_FGD, cv2.GC_BGD)):
        state[cv2.dilate(one, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0] = value
    owned = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
    # GrabCut needs enough pixels of both kinds.
    if min(owned.sum(), (~owned).sum()) > 5:
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(colours, state, (0, 0, 0, 0), *models, ITERATIONS, cv2.GC_INIT_WITH_MASK)
        owned = np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))
    cut = np.zeros_like(mask)
    full = cv2.resize(owned.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    cut[part] = np.asarray(full) > 0.5
    return np.where(seeds != 0, seeds > 0, cut)
