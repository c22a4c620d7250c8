"""What is drawn on the page, as a mask."""

from collections.abc import Sequence

import cv2
import numpy as np

from stremn.errors import StremnError
from stremn.prompts import prompt_mask

__all__ = ["TOOLS", "drawn"]

TOOLS = ("brush", "eraser", "polygon", "prompt", "mend")
_SHIFT = 4  # fixed-point digits of OpenCV's drawing


def drawn(
    tool: str,
    image: np.ndarray,
    before: np.ndarray,
    points: Sequence[Sequence[float]],
    radius: float = 1.0,
    box: Sequence[float] | None = None,
    scribble: Sequence[Sequence[Sequence[float]]] = (),
) -> np.ndarray:
    """The mask of an object after something was drawn.

    Args:
        tool: one of :data:`TOOLS`. A prompt replaces the mask, the others change it.
        image: the frame ``(H, W, 3)`` uint8 RGB.
        before: its mask so far, ``(H, W)`` bool.
        points: ``(x, y)`` in pixels: of a stroke, or corners; that prompt or mend ``(x, y, positive)``.
        radius: of the brush, in pixels.
        box: of a prompt, ``(x, y, width, height)``.
        scribble: that prompts or mends, lines of points ``(x, y, positive)``.

    Returns:
        ``(H, W)`` bool.

    Raises:
        StremnError: if the tool is unknown, or what was drawn shows nothing.
    """
    if tool == "prompt":
        return prompt_mask(image, box=box, points=points, scribble=scribble)
    if tool == "mend":
        return prompt_mask(image, points=points, scribble=scribble, before=before)
    if tool == "polygon":
        return before | prompt_mask(image, polygon=points)
    if tool not in TOOLS or not points:
        raise StremnError(f"nothing was drawn with {tool!r}: choose from {', '.join(TOOLS)}")
    stroke = np.zeros(before.shape, np.uint8)
    # The middle of the first pixel is (0, 0) for OpenCV and (0.5, 0.5) on the page.
    line = ((np.array([p[:2] for p in (*points, points[-1])]) - 0.5) * 2**_SHIFT).round().astype(np.int32)
    width = round(2 * min(max(radius, 0.5), max(before.shape)))
    cv2.polylines(stroke, [line], False, 1, width, shift=_SHIFT)
    return before & (stroke == 0) if tool == "eraser" else before | (stroke > 0)
