"""Reading of the images and masks that clips and scores are made of; whatever is wrong names the file."""

from pathlib import Path

import cv2
import numpy as np

from stremn.errors import StremnError, one_line
from stremn.files import Legend, read_mask
from stremn.files.images import UNREADABLE, read_image, read_orientation, upright

__all__ = ["fit_labels", "read_object_labels", "read_rgb"]

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}


def read_rgb(path: Path) -> np.ndarray:
    """An image as ``(H, W, 3)`` uint8 RGB, upright.

    Raises:
        StremnError: if it cannot be decoded.
    """
    try:
        if path.suffix.lower() in _JPEG:
            # OpenCV takes half of Pillow's time for what training reads most, and names may be no UTF-8.
            data = np.fromfile(path, np.uint8)
            if not data.size:
                raise ValueError("it is empty")
            image = cv2.imdecode(data, cv2.IMREAD_COLOR)
            if image is not None:
                return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return read_image(path).pixels
    except (*UNREADABLE, cv2.error) as error:
        raise StremnError(
            f"{path}: not a readable image ({one_line(error)}); remove it or run the download again"
        ) from error


def read_object_labels(path: Path, legend: Legend | None = None) -> np.ndarray:
    """A mask as object ids ``(H, W)`` uint8, by the rules of ``stremn.files.read_mask``; it may be empty.

    Args:
        path: of the mask.
        legend: what earlier masks of the same video told; it is added to.

    Raises:
        StremnError: if it cannot be used as a mask.
    """
    return read_mask(path, allow_empty=True, legend=legend).labels


def fit_labels(labels: np.ndarray, path: Path, image: Path, size: tuple[int, ...]) -> np.ndarray:
    """The labels of an image, turned along with it where EXIF turns the image and not the mask.

    Args:
        labels: ``(H, W)`` uint8.
        path: of their file.
        image: path of the image.
        size: ``(h, w)`` in pixels of the upright image.

    Raises:
        StremnError: if the mask is of another size; it names the mask and both sizes.
    """
    if labels.shape == size:
        return labels
    turned = upright(labels, read_orientation(image))
    if turned.shape == size:
        return turned
    sizes = [f"{width}x{height}" for height, width in (labels.shape, size)]
    raise StremnError(f"{path} is {sizes[0]}, its image is {sizes[1]}; give a mask of the image's size")
