"""Objects drawn over a frame."""

import cv2
import numpy as np

from stremn.files.colours import PALETTE

__all__ = ["overlay"]


def _fill_colours() -> np.ndarray:
    """The palette, lifted: its dark tones would only dim the picture. Its steps stay apart."""
    lifted = np.interp(PALETTE, [0, 64, 128, 192, 224], [0, 110, 180, 235, 255])
    return np.ascontiguousarray(lifted.round().astype(np.uint8)[:, None])


def _line_colours() -> np.ndarray:
    light = 0.55 * _fill_colours().astype(np.float32) + 0.45 * 255
    return np.ascontiguousarray(light.round().astype(np.uint8))


_FILL, _LINE = _fill_colours(), _line_colours()
_MARGIN = 4


def overlay(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw every object in its palette colour, half transparent, with a thin light contour.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB; not changed.
        labels: ``(H, W)`` uint8, 0 = background.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: if the sizes differ.
    """
    if frame.shape[:2] != labels.shape:
        raise ValueError(f"labels are {labels.shape}, frame is {frame.shape[:2]}")
    drawn = frame.copy()
    left, top, width, height = cv2.boundingRect((labels > 0).view(np.uint8))
    if not width:
        return drawn
    rows = slice(max(top - _MARGIN, 0), top + height + _MARGIN)
    columns = slice(max(left - _MARGIN, 0), left + width + _MARGIN)
    part = np.ascontiguousarray(labels[rows, columns])
    below = np.ascontiguousarray(frame[rows, columns])
    objects = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY)[1]
    filled = cv2.addWeighted(below, 0.5, cv2.applyColorMap(part, _FILL), 0.5, 0)
    window = drawn[rows, columns]
    cv2.copyTo(filled, objects, window)
    # A line twice as wide on 960 rows looks the same as a single one on 480; it lies inside the object.
    reach = max(1, round(max(frame.shape[:2]) / 900))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    rim = cv2.compare(part, cv2.erode(part, kernel), cv2.CMP_NE) | _lower_rim(part, kernel)
    cv2.copyTo(cv2.applyColorMap(part, _LINE), rim & objects, window)
    return drawn


def _lower_rim(part: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Where an object meets one of a greater id: without it, only one of the two would have its line."""
    return np.asarray(cv2.compare(part, cv2.dilate(part, kernel), cv2.CMP_NE))
