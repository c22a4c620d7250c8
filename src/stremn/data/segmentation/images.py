"""Fast reading of training images and masks (the public readers with repair live in ``stremn.files``)."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stremn.errors import StremnError

__all__ = ["IMAGE_SUFFIXES", "check_sizes", "read_labels", "read_object_labels", "read_rgb", "read_saliency"]

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}

VOID = 255
"""Pixels of a label map that belong to nothing, where it has other ids as well."""


def read_rgb(path: Path) -> np.ndarray:
    """An image as ``(H, W, 3)`` uint8 RGB.

    Raises:
        StremnError: if it cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise StremnError(f"{path}: not a readable image; remove it or run the download again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def read_labels(path: Path) -> np.ndarray:
    """A palette or grey mask as its raw values, ``(H, W)`` uint8; grey saved as RGB counts as grey.

    Raises:
        StremnError: if it cannot be decoded or is no palette or grey image of 8 bits.
    """
    labels, mode = _read(path)
    if mode in ("RGB", "RGBA", "LA"):
        colours = labels[..., : 1 if mode == "LA" else 3]
        if (colours == colours[..., :1]).all():
            return np.ascontiguousarray(colours[..., 0])
    if mode not in ("P", "L", "1"):
        raise StremnError(f"{path}: a training mask must be a palette or grey image of 8 bits, not {mode}")
    return labels.astype(np.uint8)


def read_object_labels(path: Path) -> np.ndarray:
    """A mask as object ids ``(H, W)`` uint8: black and white becomes 0 and 1, 255 beside ids background.

    Raises:
        StremnError: as `read_labels`.
    """
    labels = read_labels(path)
    values = np.flatnonzero(cv2.calcHist([labels], [0], None, [256], [0, 256]))
    if values[-1] != VOID:
        return labels
    between = values[(values > 0) & (values < VOID)]
    # White with dark greys alone is a label map with void; with bright ones it is a mask with soft borders.
    if len(between) and between[-1] < 128:
        return np.where(labels == VOID, 0, labels).astype(np.uint8)
    return (labels > 127).astype(np.uint8)


def read_saliency(path: Path) -> np.ndarray:
    """A mask of one object: 1 where it is brighter than half, ``(H, W)`` uint8.

    Raises:
        StremnError: if it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return (np.array(image.convert("L")) > 127).astype(np.uint8)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _unreadable(path, error) from error


def check_sizes(path: Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        StremnError: naming the mask ``path`` and both sizes.
    """
    if image.shape[:2] != labels.shape:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (labels, image)]
        raise StremnError(f"{path} is {sizes[0]}, its image is {sizes[1]}; give a mask of the image's size")


def _read(path: Path) -> tuple[np.ndarray, str]:
    try:
        with Image.open(path) as image:
            return np.array(image), image.mode
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StremnError:
    return StremnError(f"{path}: not a readable mask ({error}); write it again")
