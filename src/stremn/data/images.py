"""Fast reading of training images and masks (the public readers with repair live in ``stremn.files``)."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stremn.errors import StremnError

__all__ = ["check_sizes", "read_labels", "read_rgb"]


def read_rgb(path: Path) -> np.ndarray:
    """An image as ``(H, W, 3)`` uint8 RGB.

    Raises:
        StremnError: if it cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise StremnError(f"{path}: not a readable image; remove it or run the download again")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_labels(path: Path) -> np.ndarray:
    """A palette or grey mask as its raw values, ``(H, W)`` uint8.

    Raises:
        StremnError: if it cannot be decoded or is no palette or grey image of 8 bits.
    """
    try:
        with Image.open(path) as image:
            labels, mode = np.array(image), image.mode
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise StremnError(f"{path}: not a readable mask ({error}); write it again") from error
    if mode not in ("P", "L", "1"):
        raise StremnError(f"{path}: a training mask must be a palette or grey image of 8 bits, not {mode}")
    return labels.astype(np.uint8)


def check_sizes(path: Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Refuse a mask of another size than its image.

    Raises:
        StremnError: naming the mask ``path`` and both sizes.
    """
    if image.shape[:2] != labels.shape:
        sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (labels, image)]
        raise StremnError(f"{path} is {sizes[0]}, its image is {sizes[1]}; give a mask of the image's size")
