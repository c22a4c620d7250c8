"""What any prediction model must beat: the last observed frame, copied, or moved on by its optical flow."""

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ["BASELINES", "COPY", "carry_on", "copy_last"]

COPY = "copy last frame"
"""The name of the first row."""

SMALLEST = 12
"""Pixels that OpenCV's flow asks of each side."""


def copy_last(observed: np.ndarray, horizon: int) -> np.ndarray:
    """The last observed frame, again and again.

    Args:
        observed: frames ``(M, h, w)`` or ``(M, h, w, 3)`` uint8.
        horizon: N.

    Returns:
        The N frames that are foreseen, of the shape and type of those observed.
    """
    return np.repeat(observed[-1:], horizon, axis=0)


def carry_on(observed: np.ndarray, horizon: int) -> np.ndarray:
    """The last observed frame, moved on as it moved since the one before.

    The flow of the two frames is OpenCV's DIS at its medium preset (Kroeger et al. 2016, "Fast Optical Flow
    using Dense Inverse Search", https://arxiv.org/abs/1603.03590). Velocities stay as they are and go along
    with what moves. For each frame the way back to the last observed one is composed of the steps between,
    so that no frame is sampled from one that was itself sampled: bilinearly, beyond the edges as at the edge.
    It is deterministic.

    Args:
        observed: frames ``(M, h, w)`` or ``(M, h, w, 3)`` uint8; of one frame alone nothing moves.
        horizon: N.

    Returns:
        The N frames that are foreseen, of the shape and type of those observed.
    """
    if len(observed) < 2:
        return copy_last(observed, horizon)
    step = first_step = _flow(observed[-1], observed[-2])
    way, found = np.zeros_like(step), []
    for _ in range(horizon):
        way = step + _sample(way, step)
        found.append(_sample(observed[-1], way))
        step = _sample(first_step, way)
    return np.stack(found)


BASELINES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    COPY: copy_last,
    "optical flow": carry_on,
}
"""By the names of their rows; each foresees N frames from those observed, without a model."""


def _flow(frame: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Displacements ``(h, w, 2)`` in pixels, x then y, to where each pixel was in the frame before."""
    height, width = frame.shape[:2]
    below, right = max(0, SMALLEST - height), max(0, SMALLEST - width)
    pair = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) if f.ndim == 3 else f for f in (frame, before)]
    now, then = (cv2.copyMakeBorder(f, 0, below, 0, right, cv2.BORDER_REPLICATE) for f in pair)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(now, then, np.zeros((*now.shape, 2), np.float32))
    return np.asarray(flow)[:height, :width]


def _sample(image: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """An image ``(h, w[, C])`` read at each pixel's place plus its shift ``(h, w, 2)``."""
    height, width = shifts.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    places = (x + shifts[..., 0], y + shifts[..., 1])
    return cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
