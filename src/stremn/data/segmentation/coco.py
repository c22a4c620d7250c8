"""COCO: one JSON file of the instances in images, as polygons and run lengths."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from stremn.errors import StremnError

__all__ = ["ImageRecord", "decode_runs", "draw_instance", "image_folder", "read_instances", "unpack_runs"]


class ImageRecord(NamedTuple):
    """An image of COCO: its file, its size in pixels, and its instances as JSON, the largest first."""

    name: str
    height: int
    width: int
    segmentations: bytes


def read_instances(file: Path) -> list[ImageRecord]:
    """The images of a file that have an instance which is no crowd.

    Raises:
        StremnError: if the file is damaged.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        found = defaultdict(list)
        for annotation in data["annotations"]:
            if not annotation.get("iscrowd") and annotation["segmentation"]:
                found[annotation["image_id"]].append((annotation["area"], annotation["segmentation"]))
        records = []
        for image in data["images"]:
            name, height, width = str(image["file_name"]), int(image["height"]), int(image["width"])
            if instances := sorted(found[image["id"]], key=lambda pair: -pair[0]):
                # One byte string an image: a million small lists would be copied into every worker.
                shapes = json.dumps([segmentation for _, segmentation in instances]).encode()
                records.append(ImageRecord(name, height, width, shapes))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise StremnError(f"{file}: not a COCO instances file ({said}); run the download again") from error
    return records


def image_folder(file: Path) -> Path:
    """The folder of the images of ``instances_NAME.json``.

    Raises:
        StremnError: if there is none.
    """
    root, name = file.parent.parent, file.stem.removeprefix("instances_")
    for folder in (root / name, root / "images" / name, root / "images"):
        if folder.is_dir():
            return folder
    raise StremnError(f"{file}: the folder of its images, {root / name}, is missing")


def draw_instance(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A segmentation of COCO as a mask ``(height, width)`` of 0 and 1, uint8.

    Args:
        segmentation: polygons ``[[x, y, x, y, …], …]``, or ``{"counts": …, "size": [height, width]}``
            with run lengths as numbers or packed in a string.
        height: of the image.
        width: of the image.

    Raises:
        ValueError: if it is damaged.
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = unpack_runs(counts) if isinstance(counts, str) else counts
        if list(segmentation["size"]) != [height, width]:
            raise ValueError("run lengths of another size")
        return decode_runs(runs, height, width)
    mask = np.zeros((height, width), np.uint8)
    for polygon in segmentation:
        points = np.array(polygon, dtype=np.float64)
        if points.ndim != 1 or len(points) % 2 or not (np.abs(points) < FARTHEST).all():
            raise ValueError("a polygon is no list of pairs, or far off the picture")
        _fill(mask, points.reshape(-1, 2))
    return mask


FINER, SUBPIXEL_BITS = 5, 4
FARTHEST = 1e6
"""Pixels from the corner of the picture to a corner of a polygon, beyond which it is a mistake."""


def _fill(mask: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels of which the middle lies in a polygon ``(N, 2)``; it counts from a corner.

    OpenCV fills the border as well, half a pixel too much: it is made to draw on finer pixels.
    """
    height, width = mask.shape
    left, top = (int(v) for v in np.clip(np.floor(points.min(axis=0)), 0, (width, height)))
    right, bottom = (int(v) for v in np.clip(np.ceil(points.max(axis=0)), 0, (width, height)))
    if left >= right or top >= bottom:
        return
    fine = np.zeros((FINER * (bottom - top), FINER * (right - left)), np.uint8)
    fixed = np.round(((points - (left, top)) * FINER - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(fine, [fixed], 1, shift=SUBPIXEL_BITS)
    middle = FINER // 2
    mask[top:bottom, left:right] |= fine[middle::FINER, middle::FINER]


def unpack_runs(text: str) -> list[int]:
    """The run lengths of a packed string.

    A number is cut into groups of five bits, the lowest first, one character each; a sixth bit says that more
    follow, and the highest bit of the last group is the sign. From the fourth run on, the number is the
    difference to the last run but one.

    Raises:
        ValueError: if the text is none that packs run lengths.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise ValueError(f"character {character!r} in packed run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("packed run lengths end within a number")
    return runs


def decode_runs(runs: Sequence[int], height: int, width: int) -> np.ndarray:
    """Run lengths, background first, to a mask ``(height, width)`` of 0 and 1, uint8.

    Raises:
        ValueError: if a run is negative or they do not add up to the size.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"run lengths do not fill {width}x{height} pixels")
    values = (np.arange(len(lengths)) % 2).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)
