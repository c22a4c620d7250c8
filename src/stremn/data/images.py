"""Fast reading of training images and masks (the public readers with repair live in ``stremn.files``)."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from stremn.errors import StremnError

__all__ = ["read_labels", "read_rgb"]


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
        StremnError: if it cannot be decoded or has no single channel.
    """
    try:
        with Image.open(path) as image:
            labels = np.array(image)
    except (OSError, ValueError) as error:
        raise StremnError(f"{path}: not a readable mask ({error})") from error
    if labels.ndim != 2:
        raise StremnError(f"{path}: a training mask must be a palette or grey image, not {image.mode}")
    return labels.astype(np.uint8)
