"""Stills in every layout: found by looking, read right, and damage told in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from layouts import LAYOUTS, coco_json, polygon, write_coco, write_ecssd, write_sbd
from small_data import frame, labels, write_stills
from stremn.data import ClipRequest, SyntheticClips, open_stills
from stremn.data.segmentation.coco import draw_instance
from stremn.data.segmentation.images import read_object_labels
from stremn.data.segmentation.stills import STILL_LAYOUTS
from stremn.errors import StremnError
from stremn.files import write_mask


def error_of(root: Path, read: bool = False) -> str:
    """The message, which must be one line and name a file."""
    with pytest.raises(StremnError) as caught:
        _ = [open_stills(root)[i] for i in range(2 if read else 0)] or open_stills(root)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root) in message
    return message


def test_every_layout_has_a_fixture() -> None:
    assert {layout.layout for layout in STILL_LAYOUTS} == set(LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_recognised_and_read(layout: str, tmp_path: Path) -> None:
    stills = open_stills(LAYOUTS[layout](tmp_path / "set"))
    assert (stills.layout, len(stills), stills.missing) == (layout, 2, [])
    salient = layout in ("ECSSD", "HKU-IS", "MSRA10K")
    for i, still in enumerate(stills[i] for i in range(2)):
        step = 5 if layout == "images + masks" else 1
        true = labels(step * i)
        assert np.abs(still.image.astype(int) - frame(step * i)).mean() < 6
        assert still.labels.dtype == np.uint8
        np.testing.assert_array_equal(still.labels, true > 0 if salient else true)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clips_are_made_of_any_layout(layout: str, tmp_path: Path) -> None:
    clips = SyntheticClips([open_stills(LAYOUTS[layout](tmp_path / "set"))], objects=2, seed=0)
    clip = clips[ClipRequest(0, 3, 32)]
    assert clip.valid[0]
    assert (clip.labels[0] == 1).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_and_missing_files(layout: str, tmp_path: Path) -> None:
    root = LAYOUTS[layout](tmp_path / "set")
    stills = open_stills(root)
    first, second = stills.images
    first.write_bytes(b"no image")
    assert f"{first}: not a readable image" in error_of(root, read=True)
    first.unlink()
    stills = open_stills(root)
    assert stills.images == [second]
    assert len(stills.missing) == 1
    assert first.stem in stills.missing[0]
    second.unlink()
    error_of(root)


def test_a_folder_that_fits_none_is_told_the_layouts(tmp_path: Path) -> None:
    message = error_of(tmp_path)
    assert all(f"{layout.layout}: {layout.looks_like}" in message for layout in STILL_LAYOUTS)
    assert "does not exist" in error_of(tmp_path / "nowhere")


def test_folders_in_other_capitals(tmp_path: Path) -> None:
    root = write_ecssd(tmp_path)
    (root / "images").rename(root / "Images")
    assert open_stills(root).layout == "ECSSD"


# Masks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 255], [0, 1]),
        ([0, 1, 2, 255], [0, 1, 2, 0]),
        ([0, 85, 170, 254], [0, 85, 170, 254]),
        ([0], [0]),
    ],
    ids=["ids", "black and white", "ids and void", "one grey an object", "empty"],
)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_the_values_of_a_mask_mean(
    values: list[int], expected: list[int], mode: str, tmp_path: Path
) -> None:
    areas = np.repeat(np.repeat(np.array([values], np.uint8), 9, axis=0), 9, axis=1)
    Image.fromarray(areas).convert(mode).save(tmp_path / "mask.png")
    assert read_object_labels(tmp_path / "mask.png")[4, 4::9].tolist() == expected


def test_soft_borders_go_to_the_nearer_side(tmp_path: Path) -> None:
    row = np.array([[0] * 20 + [60, 200] + [255] * 20], np.uint8)
    Image.fromarray(np.repeat(row, 30, axis=0)).save(tmp_path / "mask.png")
    assert read_object_labels(tmp_path / "mask.png")[7].tolist() == [0] * 21 + [1] * 21


def test_masks_that_are_no_label_maps(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((9, 9), 2000, np.uint16)).save(path)
    with pytest.raises(StremnError, match=r"mask\.png holds id 2000, ids go from 1 to 255"):
        read_object_labels(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(StremnError, match=r"mask\.png is not a readable image"):
        read_object_labels(path)


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    write_stills(tmp_path, 1)
    write_mask(tmp_path / "masks" / "still0.png", labels(0, 32, 48))
    assert "still0.png is 48x32, its image is 96x64" in error_of(tmp_path, read=True)


# COCO --------------------------------------------------------------------------------------------------


def write_json(root: Path, data: object) -> Path:
    write_coco(root)
    (root / "annotations" / "instances_train2017.json").write_text(
        data if isinstance(data, str) else json.dumps(data)
    )
    return root


def test_training_images_come_first(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    other = root / "annotations" / "instances_minival.json"
    other.write_text(json.dumps(coco_json()))
    (root / "train2017").rename(root / "images")
    assert open_stills(root).mask_path(0).name == "instances_train2017.json"
    assert open_stills(other).mask_path(0) == other


def test_smaller_instances_lie_above(tmp_path: Path) -> None:
    data = coco_json()
    data["annotations"] = [
        {"id": i, "image_id": 10, "area": area, "iscrowd": 0, "segmentation": [polygon(0, 0, side, side)]}
        for i, (area, side) in enumerate([(25, 5), (400, 20)])
    ]
    (still,) = open_stills(write_json(tmp_path, data))
    assert [(still.labels == i).sum() for i in (1, 2)] == [400 - 25, 25]


def test_a_polygon_of_several_parts_and_outside_the_image() -> None:
    mask = draw_instance([polygon(2, 3, 4, 5), polygon(4, 3, 6, 5), polygon(-3, -3, 5, 5)], 10, 20)
    expected = np.zeros((10, 20))
    expected[3:8, 2:10] = 1
    expected[:2, :2] = 1
    np.testing.assert_array_equal(mask, expected)
    assert not draw_instance([polygon(50, 50, 5, 5)], 10, 20).any()


@pytest.mark.parametrize(
    "data",
    ["{", "[]", {"images": []}, {"images": [{"id": 1}], "annotations": []}, {"images": 3, "annotations": 4}],
)
def test_a_damaged_instances_file(data: object, tmp_path: Path) -> None:
    assert "not a COCO instances file" in error_of(write_json(tmp_path, data))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3]],
        [[[1, 2], [3, 4]]],
        [["a", "b"]],
        {"counts": [1, 2], "size": [64, 96]},
        {"counts": "0\x01", "size": [64, 96]},
        {"counts": [64 * 96], "size": [96, 64]},
        {"size": [64, 96]},
    ],
)
def test_a_damaged_segmentation(segmentation: object, tmp_path: Path) -> None:
    data = coco_json()
    data["annotations"][0]["segmentation"] = segmentation
    assert "segmentation of first.jpg is damaged" in error_of(write_json(tmp_path, data), read=True)


def test_a_coco_without_its_images(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    (root / "train2017").rename(root / "elsewhere")
    assert "train2017, is missing" in error_of(root)


# SBD ---------------------------------------------------------------------------------------------------


def test_sbd_as_it_is_unpacked(tmp_path: Path) -> None:
    write_sbd(tmp_path / "benchmark_RELEASE" / "dataset")
    assert len(open_stills(tmp_path)) == 2


@pytest.mark.parametrize(
    "content", [{"other": 1}, {"GTinst": {"Boundaries": 1}}, {"GTinst": {"Segmentation": np.zeros((2, 2))}}]
)
def test_a_mat_file_without_instances(content: dict[str, object], tmp_path: Path) -> None:
    savemat(write_sbd(tmp_path) / "inst" / "first.mat", content)
    assert "first.mat" in error_of(tmp_path, read=True)


def test_a_damaged_mat_file(tmp_path: Path) -> None:
    (write_sbd(tmp_path) / "inst" / "first.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(300))
    assert "first.mat: holds no GTinst.Segmentation" in error_of(tmp_path, read=True)
