"""Objects drawn in LabelMe and COCO files."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawn_files import OUTLINE, SIDE, coco, labelme, shape
from small_data import HEIGHT, WIDTH, frame, labels
from stremn.files import Frame
from stremn.metrics import region_similarity
from stremn.prompts import PromptSchedule, read_annotations

NAMES = ("a", "b", "c")
SQUARE = labels(0) == 1


def at(file: Path, index: int = 0, names: tuple[str, ...] | None = NAMES) -> np.ndarray | None:
    """The labels of a frame."""
    schedule = PromptSchedule(read_annotations([file], names))
    name = f"{index:05d}" if names is None else names[index]
    return schedule.at(Frame(index, name, frame(index)))


def packed(mask: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(mask).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def runs() -> dict[str, Any]:
    ends = np.flatnonzero(np.diff(SQUARE.T.ravel(), prepend=False))
    return {"counts": np.diff(ends, prepend=0, append=SQUARE.size).tolist(), "size": [HEIGHT, WIDTH]}


@pytest.mark.parametrize(
    ("write", "object_id"),
    [
        (lambda path: labelme(path, shape("7", OUTLINE)), 7),
        (
            lambda path: labelme(
                path, shape("x", [[4, 6]], "mask", mask=packed(np.full((SIDE, SIDE), True)))
            ),
            1,
        ),
        (lambda path: labelme(path, shape("x", [[2, 4], [6 + SIDE, 8 + SIDE]], "rectangle")), 1),
        (lambda path: labelme(path, shape("x", OUTLINE), imagePath="elsewhere.png"), 1),
        (
            lambda path: coco(
                path, {"image_id": 0, "segmentation": [np.ravel(OUTLINE).tolist()], "track_id": 7}
            ),
            7,
        ),
        (lambda path: coco(path, {"image_id": 0, "bbox": [2, 4, 4 + SIDE, 4 + SIDE]}), 1),
        (lambda path: coco(path, {"image_id": 0, "segmentation": runs()}), 1),
    ],
    ids=["polygon", "mask", "rectangle", "other-name", "coco-polygon", "coco-box", "coco-runs"],
)
def test_a_file_shows_an_object(write: Callable[[Path], Path], object_id: int, tmp_path: Path) -> None:
    found = at(write(tmp_path / "drawn.json"))
    assert found is not None
    assert set(np.unique(found)) == {0, object_id}
    assert region_similarity(found, SQUARE) > 0.95


def test_shapes_of_one_group_are_one_object_and_others_are_numbered(tmp_path: Path) -> None:
    small = [[50, 40], [60, 40], [60, 50]]
    file = labelme(
        tmp_path / "drawn.json",
        *(shape("dog", OUTLINE), shape("dog", small), shape("2", [[80, 40], [90, 40], [90, 50]])),
        *(shape("cat", [[x, 55], [x + 8, 55], [x, 63]], group_id=4) for x in (10, 30)),
    )
    found = at(file)
    assert found is not None
    assert [int(found[y, x]) for y, x in ((10, 10), (41, 59), (41, 89), (56, 11), (56, 31))] == [
        1,
        3,
        2,
        4,
        4,
    ]


def test_a_circle_and_a_line_with_points(tmp_path: Path) -> None:
    x, y = 4 + SIDE / 2, 6 + SIDE / 2
    circle = at(labelme(tmp_path / "circle.json", shape("x", [[x, y], [x + 8, y]], "circle")))
    assert circle is not None
    assert circle.sum() == pytest.approx(np.pi * 64, rel=0.03)
    line = shape("x", [[6, 8], [20, 22]], "linestrip")
    found = at(labelme(tmp_path / "line.json", line, shape("x", [[8, 20]], "point")))
    assert found is not None
    assert region_similarity(found, SQUARE) > 0.9


def test_frames_of_a_video_are_known_by_number(tmp_path: Path) -> None:
    file = labelme(tmp_path / "drawn.json", shape("x", OUTLINE), imagePath="C:\\shots\\0001.png")
    assert at(file, 0, None) is None
    assert at(file, 1, None) is not None
