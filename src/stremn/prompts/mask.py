"""The door for prompts: a picture and what was drawn on it in, the mask of one object out."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from stremn.errors import StremnError
from stremn.prompts.grabcut import cut_border
from stremn.prompts.network import guess_object
from stremn.prompts.shapes import Prompt, Size
from stremn.sessions.inputs import as_frame, as_object_masks

__all__ = ["mask_of", "prompt_mask"]


def prompt_mask(
    image: Any,
    *,
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    scribble: Sequence[Sequence[Sequence[float]]] = (),
    polygon: Sequence[Sequence[float]] | None = None,
    before: Any = None,
) -> np.ndarray:
    """Make the mask of one object from what shows it, or mend the mask that it has.

    Coordinates are pixels from the upper left corner, x to the right and y down.

    Args:
        image: see :func:`stremn.sessions.inputs.as_frame`.
        box: ``(x, y, width, height)`` around the object; what juts out of the picture is cut off, and a point
            on the object beyond it widens it.
        points: ``(x, y)`` on the object, or ``(x, y, positive)``, where False means beside it.
        scribble: lines, each a sequence of such points that are joined, all on the object or all beside it.
        polygon: corners ``(x, y)`` of the object; it is the mask itself, and stands alone.
        before: mask of the object so far ``(H, W)``, of a tracker say, that points and scribbles change
            where it is wrong. An empty one counts for nothing.

    Returns:
        ``(H, W)`` bool, not empty.

    Raises:
        StremnError: if nothing is given, or it is empty, outside the picture, of another size or contradicts
            itself.

    Examples:
        >>> image = np.zeros((64, 96, 3), np.uint8)
        >>> image[20:40, 30:60] = 255
        >>> mask = prompt_mask(image, box=(25, 15, 40, 30))
        >>> bool(mask[30, 45]), bool(mask[5, 5])
        (True, False)
        >>> bool(prompt_mask(image, points=[(32, 22, False)], before=mask)[22, 32])
        False
    """
    prompt = Prompt(box, points, scribble, () if polygon is None else (polygon,))
    return mask_of(as_frame(image), prompt, before)


def mask_of(frame: np.ndarray, prompt: Prompt, before: Any = None) -> np.ndarray:
    """The mask ``(H, W)`` bool, not empty, of an object shown in a frame ``(H, W, 3)`` uint8 RGB.

    Args:
        frame: in which it is shown.
        prompt: how.
        before: mask of it so far, see :func:`prompt_mask`.

    Raises:
        StremnError: see :func:`prompt_mask`.
    """
    size = (frame.shape[0], frame.shape[1])
    bounds, seeds, drawn = prompt.box_in(size), prompt.seeds(size), prompt.drawn(size)
    if before is not None:
        before = next(iter(as_object_masks({1: before}, size, empty=True).values()))
        if not prompt.mends:
            raise StremnError("a box or polygon shows the object anew: leave it out, or the mask before it")
        if before.any():
            return _mended(frame, before, seeds)
    if drawn is not None:
        if bounds or seeds.any():
            raise StremnError("a polygon is the mask itself: leave out its box, points and scribble")
        return drawn
    if not bounds and not (seeds > 0).any():
        raise StremnError(
            "nothing shows where the object is: give a box, a point on it, a scribble or a polygon"
        )
    inside = np.ones(size, bool)
    if bounds:
        # A point on the object beyond its box says that the box is too small.
        inside = _filled(bounds, size) | (seeds > 0)
        left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
        bounds = (left, top, left + width, top + height)
        inside = _filled(bounds, size)
    mask = guess_object(frame, bounds, seeds)
    if mask.any():
        mask = cut_border(frame, mask, seeds) & inside
    if bounds and not mask.any():
        # Nothing is found in the box: it is all that is known.
        mask = inside
    mask = np.where(seeds != 0, seeds > 0, mask)
    if not mask.any():
        raise StremnError("points beside the object leave nothing of its box: take some away")
    return mask


def _mended(frame: np.ndarray, before: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    if not seeds.any():
        raise StremnError("nothing shows where the mask is wrong: give a point or a scribble")
    mask = np.where(seeds != 0, seeds > 0, guess_object(frame, None, seeds, before))
    if not mask.any():
        raise StremnError("points beside the object leave nothing of its mask: take some away")
    return mask


def _filled(bounds: tuple[int, int, int, int], size: Size) -> np.ndarray:
    left, top, right, bottom = bounds
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    return inside
