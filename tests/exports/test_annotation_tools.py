"""Exports to CVAT, LabelMe and YOLO, read as these tools read them."""

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from clips import COUNT, HEIGHT, LABELS, NAMES, WIDTH, labels, write
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from small_data import frame
from stremn.exports.polygons import joined, outlines
from stremn.files.masks import read_ids


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("exports"), ["cvat", "labelme", "yolo"])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def filled(polygons: list[np.ndarray], size: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Polygons around pixels as COCO fills them."""
    rles = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return coco_mask.decode(coco_mask.merge(rles)) > 0


def drawn(polygons: list[np.ndarray], size: tuple[int, ...] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Polygons through the centres of pixels as LabelMe draws them."""
    image = Image.new("L", size[::-1])
    for polygon in polygons:
        ImageDraw.Draw(image).polygon([tuple(point) for point in polygon], outline=1, fill=1)
    return np.asarray(image) > 0


def assert_picture(path: Path, index: int) -> None:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - frame(index)).mean() < 4


def test_cvat(exports: Path) -> None:
    root = ElementTree.parse(exports / "cvat/annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iter("label")] == LABELS
    images = root.findall("image")
    assert [int(image.attrib["id"]) for image in images] == list(range(COUNT))
    for index, image in enumerate(images):
        assert_picture(exports / "cvat/images" / image.attrib["name"], index)
        read = np.zeros((int(image.attrib["height"]), int(image.attrib["width"])), np.uint8)
        for mask in image.findall("mask"):
            left, top, width, height = (int(mask.attrib[k]) for k in ("left", "top", "width", "height"))
            ends = np.cumsum([int(count) for count in mask.attrib["rle"].split(",")])
            pixels = np.zeros(width * height, bool)
            for start, end in list(pairwise(ends))[::2]:
                pixels[start:end] = True
            object_id = int(mask.attrib["group_id"])
            read[top : top + height, left : left + width][pixels.reshape(height, width)] = object_id
            assert mask.attrib["label"] == NAMES.get(object_id, f"object-{object_id}")
        assert np.array_equal(read, labels(index))


def test_labelme(exports: Path) -> None:
    for index in range(COUNT):
        data = json.loads((exports / f"labelme/frame é{index}.json").read_text("utf-8"))
        assert_picture(exports / "labelme" / data["imagePath"], index)
        assert (data["imageHeight"], data["imageWidth"]) == (HEIGHT, WIDTH)
        true = labels(index)
        assert {shape["group_id"] for shape in data["shapes"]} == set(np.unique(true)) - {0}
        for object_id in np.unique(true)[1:]:
            shapes = [shape for shape in data["shapes"] if shape["group_id"] == object_id]
            assert {s["label"] for s in shapes} == {NAMES.get(int(object_id), f"object-{object_id}")}
            found = drawn([np.array(shape["points"]) for shape in shapes])
            assert iou(found, true == object_id) >= 0.97


def test_yolo(exports: Path) -> None:
    data = yaml.safe_load((exports / "yolo/data.yaml").read_text("utf-8"))
    assert data["names"] == dict(enumerate(LABELS))
    folder = exports / "yolo" / data["train"]
    assert data["val"] == data["train"]
    for index, path in enumerate(sorted(folder.iterdir())):
        assert_picture(path, index)
        true = labels(index)
        of_class = [LABELS.index(NAMES.get(int(i), f"object-{i}")) for i in np.unique(true)[1:]]
        lines = (exports / "yolo/labels/train" / f"{path.stem}.txt").read_text().splitlines()
        assert [int(line.split()[0]) for line in lines] == of_class
        for object_id, line in zip(np.unique(true)[1:], lines, strict=True):
            corners = np.array(line.split()[1:], float).reshape(-1, 2)
            assert 0 <= corners.min() <= corners.max() <= 1
            assert iou(filled([corners * (WIDTH, HEIGHT)]), true == object_id) >= 0.97


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
@settings(max_examples=60, deadline=None)
def test_outlines_of_any_mask(small: np.ndarray) -> None:
    """Cut into pixels of six by six, so that no step is small enough to be smoothed away."""
    mask = np.zeros((HEIGHT + 8, WIDTH), bool)[:HEIGHT]
    large = small.repeat(5, axis=0).repeat(5, axis=1)
    mask[2 : 2 + len(large), 3 : 3 + large.shape[1]] = large
    polygons = outlines(mask)
    assert all(len(polygon) >= 3 for polygon in polygons)
    assert iou(filled([joined(polygons)]), mask) >= 0.97
    assert iou(drawn(outlines(mask, through_centres=True)), mask) >= 0.97


def test_polygons_of_real_masks(shared_data: Path) -> None:
    """The figures of ``docs/use/exports.md``, of the first mask of every sequence."""
    overlaps = []
    for path in sorted((shared_data / "DAVIS2016/Annotations/480p").glob("*/00000.png")):
        mask = read_ids(path) > 0
        around, through = joined(outlines(mask)), outlines(mask, through_centres=True)
        overlaps.append((iou(filled([around], mask.shape), mask), iou(drawn(through, mask.shape), mask)))
    assert len(overlaps) > 30
    assert (np.mean(overlaps, axis=0) >= (0.995, 0.98)).all()
    assert (np.min(overlaps, axis=0) >= (0.96, 0.89)).all()
