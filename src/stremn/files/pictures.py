"""A decoded PyAV picture as upright RGB."""

from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type

__all__ = ["picture"]

# FFmpeg's numbers: colour spaces that are, or by default are read as, BT.601; range 2 is full.
_BT601 = {2, 5, 6}
_FULL_RANGE = 2


def picture(frame: av.VideoFrame) -> np.ndarray:
    """The frame as (H, W, 3) uint8 RGB, turned and mirrored as the container asks."""
    return _upright(_rgb(frame), frame)


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    # OpenCV's conversion takes a fraction of the time of FFmpeg's scaler, but knows one kind only.
    plain = frame.format.name == "yuv420p" and frame.width % 2 == 0 and frame.height % 2 == 0
    if plain and frame.colorspace in _BT601 and frame.color_range != _FULL_RANGE:
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420))
    return np.asarray(frame.to_ndarray(format="rgb24"))


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Apply the display matrix: x' = a x + c y, y' = b x + d y, in 16.16 fixed point."""
    container: Any = frame.side_data  # its stubs know strings only
    if Type.DISPLAYMATRIX not in container.keys():  # noqa: SIM118
        return image
    matrix = bytes(memoryview(container[Type.DISPLAYMATRIX]))
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32, count=5)
    if abs(int(b)) > abs(int(a)):
        image, flip_x, flip_y = image.transpose(1, 0, 2), c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    image = image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(image)
