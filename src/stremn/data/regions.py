"""Objects that are none: what a network must follow because the mask says so, not because it stands out."""

import cv2
import numpy as np

from stremn.data.sprites import present_ids
from stremn.data.stills import Still

__all__ = ["INVERSE", "invert", "with_regions"]

Rng = np.random.Generator

INVERSE = 203
"""Id of all that is not the object."""

SIDE = 160
"""Longer side at which regions are drawn, in pixels."""

COLOUR_WEIGHT = 2.0
"""How much a difference of colour counts against a distance, both as shares of their whole range."""

SMALLEST, LARGEST = 0.01, 0.4
"""Shares of the image that a region may have."""


def with_regions(rng: Rng, still: Still, most: int = 3) -> Still:
    """The same still with up to ``most`` random regions as its objects.

    Random pixels are seeds; every pixel belongs to the seed that is nearest in colour and place. So regions
    follow contours where there are any, and are parts of objects, of the background, or of both.
    """
    height, width = still.labels.shape
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.GaussianBlur(cv2.resize(still.image, size, interpolation=cv2.INTER_AREA), (0, 0), 1.5)
    ys, xs = np.mgrid[: size[1], : size[0]]
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3) * np.float32(COLOUR_WEIGHT / 255)
    places = np.stack([ys.ravel(), xs.ravel()], axis=1).astype(np.float32) / SIDE
    points = np.concatenate([colours, places], axis=1)
    seeds = points[rng.integers(len(points), size=int(rng.integers(5, 20)))]
    nearest = np.square(points[:, None] - seeds).sum(axis=2).argmin(axis=1).astype(np.uint8)
    shares = np.bincount(nearest, minlength=len(seeds)) / len(points)
    usable = np.flatnonzero((shares >= SMALLEST) & (shares <= LARGEST))
    rng.shuffle(usable)
    lookup = np.zeros(len(seeds), np.uint8)
    lookup[usable[:most]] = np.arange(1, len(usable[:most]) + 1)
    labels = lookup[nearest].reshape(size[1], size[0])
    return Still(still.image, cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))


def invert(rng: Rng, labels: list[np.ndarray]) -> None:
    """One object of the first frame becomes the background, and all else one object; in place.

    Without an object nothing changes.
    """
    present = present_ids(labels[0])
    if len(present):
        one = rng.choice(present)
        for ids in labels:
            ids[...] = np.where(ids == one, 0, INVERSE)
