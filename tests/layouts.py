"""Tiny data sets in the layouts on disk, made on the spot; each holds two stills of two squares."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from small_data import frame, labels, write_davis, write_stills
from stremn.data import new_objects
from stremn.files import read_mask, write_mask

NAMES = ("first", "second")


def polygon(x: int, y: int, width: int, height: int) -> list[float]:
    """The outline of a box, as COCO counts: from the corner of the first pixel."""
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def boxes(index: int) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of the two squares."""
    found = []
    for number in (1, 2):
        ys, xs = np.nonzero(labels(index) == number)
        found.append((int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1))
    return found


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, background first."""
    flat = mask.T.ravel().astype(bool)
    cuts = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(np.int8)))
    return np.diff(np.concatenate([[0], cuts, [len(flat)]])).tolist()


def pack(numbers: list[int]) -> str:
    """Run lengths in a string, as COCO packs them."""
    text = ""
    for i, number in enumerate(numbers):
        value = number - numbers[i - 2] if i > 2 else number
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != (-1 if group & 16 else 0)
            text += chr(48 + group + 32 * more)
    return text


def coco_json() -> dict[str, Any]:
    """Polygons and packed runs, plain runs of a crowd, an image without instances."""
    images = [
        {"id": 10 + i, "file_name": f"{name}.jpg", "height": 64, "width": 96}
        for i, name in enumerate((*NAMES, "empty"))
    ]
    annotations: list[dict[str, Any]] = []
    for i in range(2):
        size = [64, 96]
        shapes: list[Any] = [
            [polygon(*boxes(i)[0])],
            {"size": size, "counts": pack(runs(labels(i) == 2))},
            {"size": size, "counts": runs(np.ones((64, 96)))},
        ]
        for j, shape in enumerate(shapes):
            # The first is the larger one, so that ids are known.
            area = (900, 400, 6144)[j]
            annotations.append(
                {"id": 3 * i + j, "image_id": 10 + i, "area": area, "iscrowd": j // 2, "segmentation": shape}
            )
    return {"images": images, "annotations": annotations, "categories": []}


def write_coco(root: Path) -> Path:
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(coco_json()))
    _images(root / "train2017", ".jpg")
    return root


def write_sbd(root: Path) -> Path:
    _images(root / "img", ".jpg")
    (root / "inst").mkdir()
    for i, name in enumerate(NAMES):
        content = {"GTinst": {"Segmentation": labels(i), "Categories": np.array([[1], [2]], np.uint8)}}
        savemat(root / "inst" / f"{name}.mat", content)
    return root


def write_ecssd(root: Path) -> Path:
    return _salient(root, "images", ".jpg", "ground_truth_mask")


def write_hku_is(root: Path) -> Path:
    return _salient(root, "imgs", ".png", "gt")


def write_msra10k(root: Path) -> Path:
    return _salient(root, "Imgs", ".jpg", "Imgs")


def write_plain(root: Path) -> Path:
    return write_stills(root, 2)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "COCO": write_coco,
    "SBD": write_sbd,
    "ECSSD": write_ecssd,
    "HKU-IS": write_hku_is,
    "MSRA10K": write_msra10k,
    "images + masks": write_plain,
}


def write_youtube(root: Path, part: str = "train", categories: tuple[str, str] = ("box", "box")) -> Path:
    """YouTube-VOS: sequence ``aa`` of frames 0, 5, … 30, the second object joins at 10; ``bb`` of three."""
    meta: dict[str, Any] = {"videos": {}}
    for name, count, join in (("aa", 7, 10), ("bb", 3, 0)):
        images, masks = (root / part / kind / name for kind in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        numbers = [5 * i for i in range(count)]
        for number in numbers:
            image, ids = frame(number), labels(number)
            if number < join:
                image[ids == 2] = 128
                ids[ids == 2] = 0
            Image.fromarray(image).save(images / f"{number:05d}.jpg", quality=95)
            write_mask(masks / f"{number:05d}.png", ids)
        objects = {
            "1": {"category": categories[0], "frames": [f"{n:05d}" for n in numbers]},
            "2": {"category": categories[1], "frames": [f"{n:05d}" for n in numbers if n >= join]},
        }
        meta["videos"][name] = {"objects": objects}
    (root / part / "meta.json").write_text(json.dumps(meta))
    return root


def hide_truth(root: Path) -> Path:
    """Leave only the masks that give objects, and of each the new objects, as public test sets do."""
    for folder in {path.parent for path in (root / "Annotations").rglob("*.png")}:
        known: list[int] = []
        for path in sorted(folder.iterdir()):
            given = new_objects(read_mask(path, allow_empty=True).labels, known)
            path.unlink()
            if given is not None:
                known += np.unique(given).tolist()
                write_mask(path, given)
    return root


def write_test_dev(root: Path) -> Path:
    """DAVIS 2017 test-dev: two sequences of two objects, which the first mask gives."""
    return hide_truth(write_davis(root, {"aerobatics": 4, "car-race": 3}))


def _images(folder: Path, suffix: str) -> None:
    folder.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.fromarray(frame(i)).save(folder / f"{name}{suffix}", quality=95)


def _salient(root: Path, images: str, suffix: str, masks: str) -> Path:
    _images(root / images, suffix)
    (root / masks).mkdir(exist_ok=True)
    for i, name in enumerate(NAMES):
        # Soft borders, as masks that were scaled have.
        grey = Image.fromarray(np.where(labels(i) > 0, 255, 0).astype(np.uint8))
        grey.resize((192, 128), Image.Resampling.BILINEAR).resize((96, 64), Image.Resampling.BOX).save(
            root / masks / f"{name}.png"
        )
    return root
