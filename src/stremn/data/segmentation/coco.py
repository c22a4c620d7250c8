"""COCO: images and one JSON file of the instances in them."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from stremn.data.segmentation.stills import StillLayout
from stremn.errors import StremnError

__all__ = ["CocoStills", "decode_runs", "draw_instance", "unpack_runs"]

log = logging.getLogger("stremn")

MOST_INSTANCES = 199
"""Per image, the largest; ids from 200 on are those of pasted cut-outs."""

FINER = 5
SUBPIXEL_BITS = 4


class CocoStills(StillLayout):
    """Stills of COCO: ``annotations/instances_NAME.json`` and the folder of images ``NAME``.

    Crowd regions are left out; so are images without an instance.

    Args:
        file: the JSON file; the images are in ``NAME``, ``images/NAME`` or ``images`` beside its folder.

    Raises:
        StremnError: if the file is damaged, or none of its images is there.
    """

    layout = "COCO"
    looks_like = "annotations/instances_NAME.json and NAME/ with the images"

    def __init__(self, file: Path | str) -> None:
        """Read the JSON file; absent images are left out and noted in ``missing``."""
        self.file = file = Path(file)
        records, instances = _read_instances(file)
        folder = _image_folder(file)
        there = {entry.name for entry in os.scandir(folder)}
        records = [record for record in records if instances.get(record["id"])]
        present = [record for record in records if record["file_name"] in there]
        missing = [f"{folder / r['file_name']}" for r in records if r["file_name"] not in there]
        if not present:
            raise StremnError(f"{file}: none of its images is in {folder}; put them there")
        super().__init__(file.parent.parent, [folder / r["file_name"] for r in present], missing)
        self._sizes = [(int(r["height"]), int(r["width"])) for r in present]
        # One byte string an image: a million small lists would be copied into every worker.
        self._instances = [json.dumps(instances[r["id"]]).encode() for r in present]

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """One set for each JSON file whose images are there, those of training first."""
        files = [root] if root.suffix == ".json" else sorted((root / "annotations").glob("instances_*.json"))
        files.sort(key=lambda file: "train" not in file.name)
        return [cls(file) for file in files]

    def mask_path(self, index: int) -> Path:
        """The JSON file."""
        return self.file

    def labels(self, index: int) -> np.ndarray:
        """Ids by size: 1 is the largest instance, and smaller ones lie above larger ones."""
        height, width = self._sizes[index]
        labels = np.zeros((height, width), np.uint8)
        try:
            for number, segmentation in enumerate(json.loads(self._instances[index])[:MOST_INSTANCES]):
                labels[draw_instance(segmentation, height, width) > 0] = number + 1
        except (ValueError, TypeError, KeyError) as error:
            name = self.images[index].name
            raise StremnError(f"{self.file}: segmentation of {name} is damaged ({error})") from error
        return labels


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
        if points.ndim != 1 or len(points) % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon is no list of pairs")
        _fill(mask, points.reshape(-1, 2))
    return mask


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


def _read_instances(file: Path) -> tuple[list[dict[str, Any]], dict[int, list[Any]]]:
    """Image records, and the segmentations of each image by its id, the largest first."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        records = [{k: r[k] for k in ("id", "file_name", "height", "width")} for r in data["images"]]
        found = defaultdict(list)
        for annotation in data["annotations"]:
            if not annotation.get("iscrowd") and annotation["segmentation"]:
                found[annotation["image_id"]].append((annotation["area"], annotation["segmentation"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise StremnError(f"{file}: not a COCO instances file ({said}); run the download again") from error
    by_size = {key: sorted(pairs, key=lambda p: -p[0]) for key, pairs in found.items()}
    return records, {key: [segmentation for _, segmentation in pairs] for key, pairs in by_size.items()}


def _image_folder(file: Path) -> Path:
    root, name = file.parent.parent, file.stem.removeprefix("instances_")
    for folder in (root / name, root / "images" / name, root / "images"):
        if folder.is_dir():
            return folder
    raise StremnError(f"{file}: the folder of its images, {root / name}, is missing")


FIRST_CHARACTER = 48
VALUE_BITS = 5


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
        group = ord(character) - FIRST_CHARACTER
        if not 0 <= group < 64:
            raise ValueError(f"character {character!r} in packed run lengths")
        value |= (group & 31) << shift
        shift += VALUE_BITS
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
