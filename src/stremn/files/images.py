"""Pictures of any kind as upright RGB of 8 bits."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from stremn.files.names import image_files

__all__ = [
    "ORIENTATIONS",
    "UNREADABLE",
    "Picture",
    "grey_to_rgb",
    "jpeg",
    "open_image",
    "orientation_of",
    "read_image",
    "read_orientation",
    "to_rgb8",
    "upright",
]

log = logging.getLogger("stremn")

# What Pillow raises on damaged files, by format and by place of the damage.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)

# By EXIF orientation: whether rows and columns change places, then whether x and y run backwards.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
ORIENTATIONS = {turn: orientation for orientation, turn in _TURNS.items()}
_SAMPLED = 64
_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}


class Picture(NamedTuple):
    """Upright ``(H, W, 3)`` uint8 RGB, and the EXIF orientation from 1 to 8 that was undone to have it so."""

    pixels: np.ndarray
    orientation: int


@contextmanager
def open_image(path: Path, formats: tuple[str, ...] | None = None) -> Iterator[ImageFile.ImageFile]:
    """An image file opened by Pillow, whose remarks on odd metadata are not the user's; not loaded yet."""
    with warnings.catch_warnings(), Image.open(path, formats=formats) as image:
        warnings.simplefilter("ignore")
        yield image


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An array ``(H, W, ...)`` turned and mirrored as an EXIF orientation from 1 to 8 asks."""
    swap, flip_x, flip_y = _TURNS[orientation]
    if swap:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an image that is not loaded yet (loading turns TIFF), from 1 to 8."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return 1
    return found if found in _TURNS else 1


def read_orientation(path: Path) -> int:
    """The EXIF orientation of an image file, from 1 to 8; 1 where it cannot be read."""
    try:
        with open_image(path) as image:
            return orientation_of(image)
    except UNREADABLE:
        return 1


def read_image(path: Path) -> Picture:
    """Read an image file of any kind as upright RGB of 8 bits.

    Pictures of 16 bits are scaled down, by the bits that the pictures of their folder use: cameras of 10 and
    12 bits fill the lower part of the range only.

    Raises:
        OSError, ValueError and the others of ``UNREADABLE``: if it cannot be decoded.
    """
    with open_image(path) as image:
        deep = _is_deep(image)  # asked first: of a PNG the orientation is known when all is loaded
        orientation = orientation_of(image)
        if deep:
            bits = _bits_used(path.parent, path.parent.stat().st_mtime_ns)
            return Picture(upright(_to_8_bits(_deep(path), bits), orientation), orientation)
        tiff = image.format == "TIFF"  # which Pillow turns by itself
        pixels = to_rgb8(image)
    return Picture(pixels if tiff else upright(pixels, orientation), orientation)


def jpeg(image: np.ndarray) -> bytes:
    """A picture ``(H, W, 3)`` uint8 RGB as a JPEG file of quality 95."""
    import cv2

    return bytes(cv2.imencode(".jpg", cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))[1])


def to_rgb8(image: Image.Image) -> np.ndarray:
    """Any Pillow image as ``(H, W, 3)`` uint8 RGB: 16 bits scaled to 8, alpha laid over black, not turned."""
    if image.mode.startswith("I"):
        return _to_8_bits(np.asarray(image).clip(0, 65535), 16)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        whole = values.size and values.min() >= 0 and values.max() <= 1
        return grey_to_rgb((values * (255 if whole else 1)).round().clip(0, 255).astype(np.uint8))
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image.convert("RGB"))


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """``(H, W)`` as ``(H, W, 3)``; what has channels stays as it is."""
    return np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey


def _to_8_bits(deep: np.ndarray, bits: int) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)`` whole numbers of so many bits as ``(H, W, 3)`` uint8."""
    most = 2**bits - 1
    return grey_to_rgb(((deep.astype(np.int64).clip(0, most) * 255 + most // 2) // most).astype(np.uint8))


def _is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded holds 16 bits a channel; Pillow would cut coloured ones to 8."""
    if image.mode.startswith("I;16") or (image.format == "PNG" and image.mode == "I"):
        return True
    if image.format == "PNG":
        return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.format == "TIFF" and image.mode != "F":
        depths = getattr(image, "tag_v2", {}).get(TiffImagePlugin.BITSPERSAMPLE, (8,))
        return max(depths if isinstance(depths, tuple) else (depths,)) == 16
    return False


def _deep(path: Path) -> np.ndarray:
    """``(H, W)`` grey or ``(H, W, 3)`` RGB uint16, alpha laid over black, not turned."""
    import cv2

    data = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("16-bit data that cannot be decoded")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        opaque = pixels[..., 3:].astype(np.uint32)
        pixels = np.concatenate([pixels[..., :3] * opaque // 65535, opaque], axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


@lru_cache(maxsize=64)
def _bits_used(folder: Path, changed: int) -> int:
    """How many bits the 16-bit pictures of a folder use: 8, 10, 12 or 16.

    ``changed`` is when it was changed last, so that a new state is looked at anew.
    """
    files = image_files(folder)
    most = 0
    for path in files[:: max(1, len(files) // _SAMPLED)]:
        try:
            with open_image(path) as image:
                deep = _is_deep(image)
            most = max(most, int(_deep(path).max()) if deep else 0)
        except UNREADABLE:
            continue
        if most >= 2**12:
            return 16
    bits = next(bits for bits in (8, 10, 12) if most < 2**bits) if most else 16
    if bits < 16:
        log.warning(
            "%s: its 16-bit pictures hold values up to %d only and are read as pictures of %d bits",
            *(folder, most, bits),
        )
    return bits
