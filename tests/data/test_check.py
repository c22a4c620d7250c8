"""The check of data sets finds each kind of fault, and none where there is none."""

import json
from pathlib import Path

import pytest

from layouts import LAYOUTS, write_coco, write_youtube
from small_data import labels, write_davis, write_stills
from stremn.data.segmentation.check import Report, check_folder
from stremn.files import write_mask


def named(line: str) -> str:
    """The file that a line of the report begins with."""
    return line.partition(" is ")[0].partition(": ")[0].removeprefix("mask ")


def check(root: Path) -> Report:
    (report,) = check_folder(root, jobs=2)
    return report


@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_stills(layout: str, tmp_path: Path) -> None:
    report = check(LAYOUTS[layout](tmp_path / "set"))
    assert (report.layout, report.damaged, report.missing) == (layout, [], [])
    objects = 2 if layout in ("ECSSD", "HKU-IS", "MSRA10K") else 4
    assert report.counts == {"images": 2, "objects": objects, "masks_without_object": 0}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_and_missing_stills(layout: str, tmp_path: Path) -> None:
    root = LAYOUTS[layout](tmp_path / "set")
    images = sorted(p for p in root.rglob("*") if p.suffix in (".jpg", ".png") and "mask" not in str(p))
    images = [
        p for p in images if p.parent.name not in ("gt", "masks") and (p.suffix == ".jpg" or "imgs" in str(p))
    ]
    first, second = images
    # OpenCV would take an image whose end is missing.
    first.write_bytes(first.read_bytes()[: first.stat().st_size * 2 // 3])
    second.unlink()
    report = check(root)
    assert len(report.damaged) == 1
    assert f"{first}: not a readable image" in report.damaged[0]
    assert len(report.missing) == 1
    assert second.stem in report.missing[0]


def test_masks_of_stills(tmp_path: Path) -> None:
    root = write_stills(tmp_path, 4)
    masks = root / "masks"
    write_mask(masks / "still0.png", labels(0, 32, 48))
    (masks / "still1.png").write_bytes((masks / "still1.png").read_bytes()[:70])
    (masks / "still2.png").unlink()
    write_mask(masks / "still3.png", 0 * labels(0))
    report = check(root)
    assert [named(line) for line in report.damaged] == [
        str(masks / "still0.png"),
        str(masks / "still1.png"),
    ]
    assert report.missing == [f"mask of {root / 'images' / 'still2.jpg'}"]
    assert report.counts == {"images": 3, "objects": 2, "masks_without_object": 1}


def test_an_unusable_set_is_damaged(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    (root / "annotations" / "instances_train2017.json").write_text("{")
    (line,) = check(root).damaged
    assert "not a COCO instances file" in line


def test_every_file_of_coco_is_a_set(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    train = root / "annotations" / "instances_train2017.json"
    (root / "annotations" / "instances_val2017.json").write_text(train.read_text())
    (root / "train2017").rename(root / "images")
    assert [report.root.name for report in check_folder(root)] == [train.name, "instances_val2017.json"]


def test_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    assert check_folder(tmp_path) == []


# Videos ----------------------------------------------------------------------------------------------------


def test_whole_videos(tmp_path: Path) -> None:
    report = check(write_davis(tmp_path, {"a": 3, "b": 4}))
    assert report.fine
    assert report.layout == "DAVIS layout"
    assert report.counts == {
        "sequences": 2,
        "frames": 7,
        "masks": 7,
        "objects": 4,
        "masks_without_object": 0,
    }


@pytest.mark.parametrize("year", ["2016", "2017"])
def test_sequences_of_the_split_that_are_absent(year: str, tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 3})
    (root / "ImageSets" / year).mkdir(parents=True)
    (root / "ImageSets" / year / "train.txt").write_text("a\nb\n")
    report = check(root)
    assert report.layout == f"DAVIS {year}"
    assert report.missing == [
        f"frames of the sequence: {root / 'JPEGImages' / '480p' / 'b'}",
        f"masks of the sequence: {root / 'Annotations' / '480p' / 'b'}",
    ]


def test_frames_of_the_split_that_are_absent(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 3})
    (root / "ImageSets" / "480p").mkdir(parents=True)
    lines = [f"/JPEGImages/480p/a/{i:05d}.jpg /Annotations/480p/a/{i:05d}.png" for i in range(4)]
    (root / "ImageSets" / "480p" / "train.txt").write_text("\n".join(lines))
    report = check(root)
    assert [line.partition(",")[0] for line in report.missing] == [
        str(root / "JPEGImages/480p/a/00003.jpg"),
        str(root / "Annotations/480p/a/00003.png"),
    ]


def test_faults_of_videos(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 8})
    images, masks = (root / kind / "480p" / "a" for kind in ("JPEGImages", "Annotations"))
    (images / "00000.jpg").write_bytes(b"no image")
    write_mask(masks / "00001.png", labels(0, 32, 48))
    (masks / "00002.png").write_bytes(b"no mask")
    (masks / "00003.png").unlink()
    (images / "00004.jpg").unlink()
    (images / "00007.jpg").unlink()
    report = check(root)
    assert [named(line) for line in report.damaged] == [
        str(images / "00000.jpg"),
        str(masks / "00001.png"),
        str(masks / "00002.png"),
    ]
    assert report.missing == [
        f"frame {images / '00004'}",
        f"frame {images / '00007'}",
        f"mask {masks / '00003'}.png",
    ]


def test_sparse_masks_are_fine(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 11, "b": 3})
    for path in (root / "Annotations" / "480p").rglob("*.png"):
        if int(path.stem) % 5:
            path.unlink()
    report = check(root)
    assert report.fine
    assert (report.counts["frames"], report.counts["masks"]) == (14, 4)


def test_youtube_vos(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        write_youtube(tmp_path, part)
    # As distributed, `valid` has masks only where objects join.
    for path in (tmp_path / "valid" / "Annotations").rglob("*.png"):
        if path.stem not in ("00000", "00010"):
            path.unlink()
    reports = check_folder(tmp_path)
    assert [(r.root.name, r.layout, r.fine) for r in reports] == [
        ("train", "YouTube-VOS", True),
        ("valid", "YouTube-VOS", True),
    ]
    (tmp_path / "valid" / "Annotations" / "aa" / "00010.png").unlink()
    (tmp_path / "valid" / "JPEGImages" / "aa" / "00025.jpg").unlink()
    report = check(tmp_path / "valid")
    assert report.missing == [
        f"frame {tmp_path / 'valid' / 'JPEGImages' / 'aa' / '00025'}",
        f"mask {tmp_path / 'valid' / 'Annotations' / 'aa' / '00010'}.png",
    ]
    (tmp_path / "train" / "meta.json").write_text("{")
    assert "meta.json" in check_folder(tmp_path)[0].damaged[0]


def test_sequences_of_the_meta_file_that_are_absent(tmp_path: Path) -> None:
    path = write_youtube(tmp_path) / "train" / "meta.json"
    meta = json.loads(path.read_text())
    meta["videos"]["cc"] = meta["videos"]["bb"]
    path.write_text(json.dumps(meta))
    assert [line.rpartition("/")[2] for line in check(tmp_path).missing] == ["cc", "cc"]


def test_folders_of_videos_that_lack_a_half(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 2})
    (root / "JPEGImages").rename(root / "elsewhere")
    (line,) = check(root).damaged
    assert "has no folder 'JPEGImages'" in line


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    check_folder(write_davis(tmp_path, {"a": 3}), 1, lambda *state: told.append(state))
    assert told == [(str(tmp_path), i, 3) for i in (1, 2, 3)]
