"""Repair of masks that were antialiased, resized with interpolation, or saved as JPEG.

Such a mask has its real values in solid areas and invented ones along the borders. Three findings carry
the repair. A value is real where it fills flat 3x3 blocks. An invented value lies between the lowest and the
highest value of its neighbourhood, which in a clean mask happens only where three objects meet. And a border
pixel belongs to one of the objects beside it, so it is given the nearest value among those near it: between
objects 0 and 3 there is no object 1, even if there is one elsewhere in the picture.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np

__all__ = ["NotAMaskError", "Snapped", "is_soft", "snap"]

_SOFT_SHARE = 0.2  # of border pixels in between: clean masks stay below 0.05, blurred ones reach 0.3 to 1
_SOFT_VALUES = 3  # values that are found in between and nowhere else
_REACH = 4  # pixels from a border pixel to the solid areas it may belong to
_NOISE = 24  # levels by which JPEG shifts a flat area
_NOISE_PIXELS = 64  # one JPEG block
_NOISE_RATIO = 20  # how much smaller than its origin a shifted area is
_MANY_VALUES = 64
_RIPPLE = 8  # levels between neighbours in what JPEG leaves of a flat area
_FLAT_SHARE = 0.3  # of pixels: a picture with fewer flat ones is a photograph
_FAR_SHARE = 0.2  # of pixels off their value by more than a ripple: a photograph again


class NotAMaskError(ValueError):
    """The picture has no solid areas: a photograph, not a mask."""


class Snapped(NamedTuple):
    """A repaired mask: ``(H, W)`` indices into ``values`` ``(N, C)`` uint8, and how many pixels changed."""

    indices: np.ndarray
    values: np.ndarray
    changed: int


def _around(extreme: np.ufunc, pixels: np.ndarray, radius: int) -> np.ndarray:
    """``np.minimum`` or ``np.maximum`` of the square around each pixel, per channel."""
    for _ in range(2):
        length = len(pixels)
        wide = np.pad(pixels, [(radius, radius), *[(0, 0)] * (pixels.ndim - 1)], "edge")
        pixels = reduce(extreme, (wide[i : i + length] for i in range(2 * radius + 1))).swapaxes(0, 1)
    return pixels


def _range(pixels: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value around each pixel, per channel."""
    return _around(np.minimum, pixels, radius), _around(np.maximum, pixels, radius)


def _between(pixels: np.ndarray, radius: int) -> np.ndarray:
    low, high = _range(pixels, radius)
    return np.asarray(((low < pixels) & (pixels < high)).any(axis=-1))


def _codes(pixels: np.ndarray) -> np.ndarray:
    """One integer per pixel that stands for its value or colour."""
    codes = pixels[..., 0].astype(np.int32)
    for c in range(1, pixels.shape[-1]):
        codes = codes << 8 | pixels[..., c]
    return codes


def is_soft(pixels: np.ndarray) -> bool:
    """Whether (H, W, C) uint8 pixels have the blurred borders of a resized or antialiased mask."""
    low, high = _range(pixels, 1)
    steep = (high.astype(np.int16) - low >= 2).any(axis=-1)
    between = ((low < pixels) & (pixels < high)).any(axis=-1) & steep
    if between.sum() > _SOFT_SHARE * steep.sum():
        return True
    codes = _codes(pixels)
    return len(np.setdiff1d(codes[between], codes[~between])) >= _SOFT_VALUES


def snap(pixels: np.ndarray, *, lossy: bool) -> Snapped:
    """Give every pixel of a soft mask one of the mask's real values.

    Args:
        pixels: (H, W, C) uint8; one channel of ids or three of colour.
        lossy: the file's format shifts values even in flat areas (JPEG).

    Raises:
        NotAMaskError: if the picture has no solid areas to take the values from.
    """
    codes = _codes(pixels)
    low, high = _range(pixels, 1)
    many = len(np.unique(codes)) > _MANY_VALUES
    # Colours of objects are never as close as ids are, so a colour mask may be judged as a JPEG saved anew.
    lossy = lossy or (many and pixels.shape[-1] == 3)
    flat = (high - low <= (_RIPPLE if lossy else 0)).all(axis=-1)
    if flat.mean() < _FLAT_SHARE:
        raise NotAMaskError
    solid = _around(np.maximum, flat, 1)
    _, first, inverse, counts = np.unique(
        codes[solid], return_index=True, return_inverse=True, return_counts=True
    )
    values = pixels[solid][first]
    noisy = lossy or (many and int(pixels.max()) >= 128)
    origin = _origins(values, counts, lossy=lossy) if noisy else np.arange(len(values))
    fixed = np.full(codes.shape, -1, np.int32)
    fixed[solid] = origin[inverse]
    fixed[_ramps(fixed, _between(pixels, _REACH))] = -1
    kept = np.unique(fixed[fixed >= 0])
    if not 0 < len(kept) <= 256:
        raise NotAMaskError
    fixed = np.where(fixed < 0, -1, np.searchsorted(kept, fixed))
    values = values[kept]
    indices = _assign(pixels, codes, fixed, values)
    changed = _codes(values)[indices] != codes
    far = (np.abs(values[indices].astype(np.int16) - pixels) > _RIPPLE).any(axis=-1)
    if far.mean() > _FAR_SHARE:
        raise NotAMaskError
    return Snapped(indices, values, int(changed.sum()))


def _ramps(fixed: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Flat strips of strongly enlarged borders: thin, and in between nearly all along."""
    import cv2

    ramps = np.zeros(fixed.shape, bool)
    for index in np.unique(fixed[between & (fixed >= 0)]):
        area = (fixed == index).astype(np.uint8)
        count, parts = cv2.connectedComponents(area, connectivity=4)
        sizes = np.bincount(parts.ravel(), minlength=count)
        inside = np.bincount(parts[between], minlength=count)
        core = cv2.erode(area, np.ones((7, 7), np.uint8), borderValue=0)
        thick = np.bincount(parts[core > 0], minlength=count) > 0
        ramp = (inside >= 0.8 * sizes) & ~thick
        ramp[0] = False
        ramps |= ramp[parts]
    return ramps


def _origins(values: np.ndarray, counts: np.ndarray, *, lossy: bool) -> np.ndarray:
    """For each value, the index of the larger one it is a shifted copy of, or its own.

    Lossy formats shift areas of any size. Elsewhere only specks beside a far larger area are noise.
    """
    origin = np.arange(len(values))
    kept: list[int] = []
    for i in np.argsort(-counts, kind="stable"):
        if kept and (lossy or counts[i] <= _NOISE_PIXELS):
            distance = np.abs(values[kept].astype(np.int16) - values[i]).max(axis=-1)
            near = distance <= _NOISE
            if not lossy:
                near &= counts[kept] >= _NOISE_RATIO * counts[i]
            if near.any():
                origin[i] = kept[int(np.where(near, distance, 999).argmin())]
                continue
        kept.append(int(i))
    return origin


def _assign(pixels: np.ndarray, codes: np.ndarray, fixed: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Solid pixels keep their value, the others get the nearest one that has a solid area near them."""
    loose = np.flatnonzero(fixed.ravel() < 0)
    colours, inverse = np.unique(codes.ravel()[loose], return_inverse=True)
    first = np.zeros(len(colours), np.int64)
    first[inverse] = loose
    flat_pixels = pixels.reshape(-1, pixels.shape[-1]).astype(np.float32)
    distance = np.linalg.norm(flat_pixels[first][:, None] - values[None].astype(np.float32), axis=-1)
    nearest = distance.argmin(axis=1)[inverse]
    local = np.full(len(loose), -1, np.int64)
    best = np.full(len(loose), np.inf)
    near_nearest = np.zeros(len(loose), bool)
    lowest, highest = np.full((2, len(loose), pixels.shape[-1]), [[[np.inf]], [[-np.inf]]])
    for k, value in enumerate(values.astype(np.float64)):
        reach = _around(np.maximum, fixed == k, _REACH).ravel()[loose]
        cost = np.where(reach, distance[:, k][inverse], np.inf)
        local = np.where(cost < best, k, local)
        best = np.minimum(cost, best)
        near_nearest |= reach & (nearest == k)
        lowest[reach] = np.minimum(lowest[reach], value)
        highest[reach] = np.maximum(highest[reach], value)
    # Thin parts have no solid area of their own: their middle is an extremum, and keeps the nearest value.
    own = flat_pixels[loose]
    mixed = ((lowest <= own) & (own <= highest)).all(axis=-1) & (lowest < highest).any(axis=-1)
    inside = mixed | (_between(pixels, 1).ravel()[loose] & (local >= 0))
    chosen = np.where(inside & ~near_nearest, local, nearest)
    indices = fixed.astype(np.int64).ravel()
    indices[loose] = chosen
    return indices.reshape(fixed.shape)
