"""Pictures that the page asks for: masks to lay over a frame, and small frames of the memory."""

import io

import cv2
import numpy as np
from PIL import Image

from stremn.files.drawing import LIFTED, overlay, pen
from stremn.files.images import jpeg

__all__ = ["colour", "mask_png", "thumbnail"]

_RIM = 128  # added to an id where its contour is
_FILL, _LINE = 105, 255  # opacity
_WIDTH = 176

_COLOURS = np.concatenate([LIFTED[:_RIM], LIFTED[:_RIM]]).tobytes()
_OPACITY = bytes([0, *[_FILL] * (_RIM - 1), *[_LINE] * _RIM])


def colour(object_id: int) -> str:
    """Of an object, for CSS."""
    return "#{:02x}{:02x}{:02x}".format(*LIFTED[object_id].tolist())


def mask_png(labels: np.ndarray) -> bytes:
    """Labels ``(H, W)`` uint8, ids below 128, as a PNG with contours that can be laid over the frame."""
    rim = (cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, pen(labels.shape)) > 0) & (labels > 0)
    image = Image.fromarray(labels + _RIM * rim.astype(np.uint8))
    image.putpalette(_COLOURS)
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1, transparency=_OPACITY)
    return file.getvalue()


def thumbnail(image: np.ndarray, mask: np.ndarray, object_id: int) -> bytes:
    """A small JPEG of a frame ``(H, W, 3)`` uint8 RGB with one object ``(H, W)`` bool drawn in."""
    size = (_WIDTH, max(1, round(_WIDTH * image.shape[0] / image.shape[1])))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(mask.astype(np.uint8) * object_id, size, interpolation=cv2.INTER_NEAREST)
    return jpeg(overlay(small, labels))
