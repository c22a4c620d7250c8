"""V6 (Sec. 4.1.1): false positives far from where the object was in the previous frame are removed."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH", "drop_far"]

REACH = 2.0
"""How far from its previous mask a part of an object may lie, in multiples of the object's size.

The paper leaves the details to a supplement; this is our choice.
"""

ADJACENT = 1.5
"""In pixels, a little more than the distance of two pixels that touch by a corner."""


def drop_far(
    labels: NDArray[np.uint8], previous: NDArray[np.uint8], reach: float = REACH
) -> NDArray[np.uint8]:
    """Turn the parts of an object that lie far from its previous mask into background.

    A part is a connected component of the object's mask, pixels that touch by a corner included. It is far if
    all of it lies farther than ``reach · √(area of the previous mask)`` from every pixel of that mask. Parts
    that touch the previous mask stay, and so does everything of an object whose previous mask is empty: it
    may come back anywhere. A far part also stays if it is larger than all near ones together, since then it
    is more likely the object than they are: otherwise a speck left behind at an occluder would keep the
    object from ever being found again. Pixels are only ever taken away, and no other object gets them.

    Args:
        labels: object id of every pixel ``(H, W)``, 0 = background.
        previous: the same of the previous frame.
        reach: multiple of the object's size, ≥ 0.

    Returns:
        ``labels`` itself if nothing is far, else a copy ``(H, W)`` uint8.

    Raises:
        ValueError: if the sizes differ.
    """
    if labels.shape != previous.shape:
        raise ValueError(f"label maps of one size are needed, not {labels.shape} and {previous.shape}")
    kept = labels
    for object_id in np.unique(labels):
        before = previous == object_id
        if object_id == 0 or not before.any():
            continue
        far = _far(labels == object_id, before, reach)
        if far is not None:
            kept = labels.copy() if kept is labels else kept
            kept[far] = 0
    return kept


def _far(mask: NDArray[np.bool_], before: NDArray[np.bool_], reach: float) -> NDArray[np.bool_] | None:
    """The pixels of the parts that are far, ``None`` where there are none."""
    limit = max(ADJACENT, reach * math.sqrt(np.count_nonzero(before)))
    distance = cv2.distanceTransform((~before).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = mask & (distance <= limit)
    if np.array_equal(near, mask):
        return None
    count, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    is_near = np.zeros(count, bool)
    is_near[parts[near]] = True
    areas = np.bincount(parts[mask], minlength=count)
    far = mask & (~is_near & (areas <= areas[is_near].sum()))[parts]
    return far if far.any() else None
