"""Exports of annotations, read back by the tools that they are for."""

import json
from pathlib import Path

import numpy as np
import pytest
from clips import COUNT, HEIGHT, IDS, LABELS, NAMES, WIDTH, labels, write
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from small_data import frame


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("exports"), ["coco", "ytvis", "mots", "datumaro"])


def name_of(object_id: int) -> str:
    return NAMES.get(object_id, f"object-{object_id}")


def assert_frame(path: Path, index: int) -> None:
    """A picture of the export shows the frame as well as JPEG can."""
    with Image.open(path) as image:
        assert image.format == "JPEG"
        pixels = np.asarray(image)
    assert np.abs(pixels.astype(int) - frame(index)).mean() < 4


def test_coco_by_pycocotools(exports: Path) -> None:
    coco = COCO(exports / "coco/annotations/instances_default.json")
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == LABELS
    assert len(coco.getImgIds()) == COUNT
    for index, image in enumerate(coco.loadImgs(sorted(coco.getImgIds()))):
        assert_frame(exports / "coco/images/default" / image["file_name"], index)
        read = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            pixels, object_id = coco.annToMask(annotation) > 0, annotation["attributes"]["track_id"]
            read[pixels] = object_id
            assert annotation["area"] == pixels.sum()
            x, y, width, height = annotation["bbox"]
            assert pixels[y : y + height, x : x + width].sum() == pixels.sum()
            assert pixels[y].any() and pixels[:, x].any() and pixels[:, x + width - 1].any()  # noqa: PT018
            assert coco.cats[annotation["category_id"]]["name"] == name_of(object_id)
        assert np.array_equal(read, labels(index))


def test_youtube_vis_by_its_definition(exports: Path) -> None:
    data = json.loads((exports / "ytvis/instances.json").read_text("utf-8"))
    (video,) = data["videos"]
    assert (video["height"], video["width"], video["length"]) == (HEIGHT, WIDTH, COUNT)
    for index, name in enumerate(video["file_names"]):
        assert_frame(exports / "ytvis/JPEGImages" / name, index)
    names = {category["id"]: category["name"] for category in data["categories"]}
    assert [track["id"] for track in data["annotations"]] == sorted(IDS)
    read = np.zeros((COUNT, HEIGHT, WIDTH), np.uint8)
    for track in data["annotations"]:
        assert names[track["category_id"]] == name_of(track["id"])
        assert len(track["segmentations"]) == len(track["bboxes"]) == len(track["areas"]) == COUNT
        for index, (rle, box, area) in enumerate(
            zip(track["segmentations"], track["bboxes"], track["areas"])
        ):
            assert (rle is None) == (box is None) == (area is None)
            if rle is not None:
                assert area == coco_mask.area(rle)
                assert box == list(coco_mask.toBbox(rle))
                read[index][coco_mask.decode(rle) > 0] = track["id"]
    assert np.array_equal(read, np.stack([labels(index) for index in range(COUNT)]))
    assert [rle is None for rle in data["annotations"][0]["segmentations"]] == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_mots_by_its_definition(exports: Path) -> None:
    classes = (exports / "mots/instances/labels.txt").read_text("utf-8").split("\n")[:-1]
    assert classes == LABELS
    read = np.zeros((COUNT, HEIGHT, WIDTH), np.uint8)
    for line in (exports / "mots/instances_txt/0000.txt").read_text().splitlines():
        time, value, number, height, width, counts = line.split(" ")
        rle = {"size": [int(height), int(width)], "counts": counts.encode()}
        assert divmod(int(value), 1000)[0] == int(number)
        assert classes[int(number) - 1] == name_of(int(value) % 1000)
        read[int(time)][coco_mask.decode(rle) > 0] = int(value) % 1000
    for index in range(COUNT):
        with Image.open(exports / f"mots/instances/0000/{index:06d}.png") as image:
            assert (image.format, image.mode) == ("PNG", "I;16")
            values = np.asarray(image)
        assert np.array_equal(values % 1000, labels(index))
        assert np.array_equal(read[index], labels(index))
        assert {name_of(int(v) % 1000): classes[v // 1000 - 1] for v in np.unique(values) if v} == {
            name: name for name in {name_of(int(v)) for v in np.unique(labels(index)) if v}
        }


def test_datumaro_by_its_definition(exports: Path) -> None:
    data = json.loads((exports / "datumaro/annotations/default.json").read_text("utf-8"))
    names = [label["name"] for label in data["categories"]["label"]["labels"]]
    assert names == LABELS
    assert [item["attr"]["frame"] for item in data["items"]] == list(range(COUNT))
    for index, item in enumerate(data["items"]):
        assert_frame(exports / "datumaro/images/default" / item["image"]["path"], index)
        read = np.zeros(item["image"]["size"], np.uint8)
        for annotation in item["annotations"]:
            object_id = annotation["attributes"]["track_id"]
            read[coco_mask.decode(annotation["rle"]) > 0] = object_id
            assert names[annotation["label_id"]] == name_of(object_id)
        assert np.array_equal(read, labels(index))
