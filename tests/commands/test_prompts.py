"""Objects shown without a mask image: options of ``stremn segment``, and files of LabelMe and COCO."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_runs import NOWHERE, assert_refused, read_masks, run

from drawn_files import OUTLINE, coco, labelme, shape
from small_data import HEIGHT, WIDTH, labels, write_frames, write_video
from stremn.files import write_mask
from stremn.metrics import region_similarity

Write = Callable[[Path], Path]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("video") / "shot", ["a.png", "b.png", "c.png"])


def outline(points: list[list[int]]) -> str:
    return ",".join(str(v) for point in points for v in point)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--box", "1:10,20,24,20@0", "--from", 1), "--box 1:10,20,24,20@0: frame 0 is not followed"),
        (("--masks", "masks"), "mask 00099: frame 00099 is not followed"),
        (("--masks", "00099.json"), "00099.json: 'x': frame 00099 is not followed"),
    ],
    ids=["before", "masks", "drawn"],
)
def test_what_is_shown_in_no_frame_that_is_followed(
    options: tuple[object, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "video.mp4", 3)
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks" / "00099.png", np.ones((64, 96), np.uint8))
    labelme(tmp_path / "00099.json", shape("x", OUTLINE), imagePath="00099.png")
    done = run("segment", video, *options, "--out", "out", "--model", NOWHERE)
    first = 1 if "--from" in options else 0
    message = f"{said}, nor is another one that shows an object: frames {first} to 2 are"
    assert_refused(done, message, tmp_path / "out")


def test_several_objects_at_several_frames(frames: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    show = ("--polygon", f"1:{outline(OUTLINE)}", "--box", f"9:{WIDTH - 29},{HEIGHT - 30},26,26@1")
    show += ("--point", f"9:{WIDTH - 16},{HEIGHT - 16}@1", "--point", "9:3,3,-@1")
    done = run("segment", frames, *show, "--out", out, "--model", weights, "--size", 64)
    assert done.status == 0, done.err
    masks = read_masks(out / "masks")
    assert np.array_equal(masks["a"] == 1, labels(0) == 1)
    assert 9 not in masks["a"]
    assert region_similarity(masks["b"] == 9, labels(1) == 2) > 0.9
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["box"] == [f"9:{WIDTH - 29},{HEIGHT - 30},26,26@1"]


def test_a_point_mends_what_was_found(frames: Path, tmp_path: Path) -> None:
    """The mask that an object has is changed where a point says so, and the rest of it stays."""
    show = ("--polygon", f"1:{outline(OUTLINE)}", "--size", 64)
    said = np.argwhere(labels(1) == 1).mean(axis=0).astype(int)
    masks = []
    for name, more in (("found", ()), ("mended", ("--point", f"1:{said[1]},{said[0]}@1"))):
        done = run("segment", frames, *show, *more, "--out", tmp_path / name)
        assert done.status == 0, done.err
        masks.append(read_masks(tmp_path / name / "masks"))
    found, mended = (of["b"] == 1 for of in masks)
    assert mended[tuple(said)]
    assert region_similarity(mended, labels(1) == 1) > 0.8
    assert np.array_equal(masks[0]["a"], masks[1]["a"])
    assert found.any()


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ((), "nothing shows which objects to follow: give --masks, --box, --point or --polygon"),
        (
            ("--box", "1:2,3,4"),
            "--box 1:2,3,4 is not like 1:x,y,width,height: give that, and @frame if it is not the first one",
        ),
        (
            ("--point", "1:2,3,?"),
            "--point 1:2,3,? is not like 1:x,y, with ,- if it is beside the object: "
            "give that, and @frame if it is not the first one",
        ),
        (("--point", "300:2,3"), "--point 300:2,3: the object's id 300 is not from 1 to 255"),
        (("--box", "1:2,3,4,5@7"), "--box 1:2,3,4,5@7: shot has no frame 7: give one from 0 to 2"),
        (
            ("--box", "1:2,3,4,5", "--box", "1:2,3,4,9"),
            "--box 1:2,3,4,5 --box 1:2,3,4,9: object 1 has several boxes in one frame: give one",
        ),
        (
            ("--box", "1:200,3,4,5"),
            "--box 1:200,3,4,5: box 200,3,4,5 lies outside the picture of 96x64 pixels: "
            "count from its upper left corner",
        ),
        (
            ("--point", "1:5,5", "--point", "1:5,5,-"),
            "--point 1:5,5 --point 1:5,5,-: point 5,5 is said to be on the object and beside it: "
            "take one of them away",
        ),
        (
            (
                "--polygon",
                "1:1,1,9,1,9,9",
                "--polygon",
                "2:0,0,20,0,20,20,0,20",
                "--polygon",
                "3:1,1,9,1,9,9",
            ),
            "--polygon 1:1,1,9,1,9,9: object 1 is covered by the other objects",
        ),
    ],
)
def test_bad_options_are_refused(show: tuple[str, ...], said: str, frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_refused(run("segment", frames, *show, "--out", out, "--model", NOWHERE), said, out)


def test_a_folder_of_files_beside_the_frames(weights: Path, tmp_path: Path) -> None:
    frames, out = write_frames(tmp_path / "shot", ["a.png", "b.png"]), tmp_path / "out"
    labelme(frames / "a.json", shape("dog", OUTLINE), shape("dog", [[50, 40], [60, 40], [60, 50]]))
    labelme(
        frames / "b.json", shape("cat", OUTLINE), shape("2", [[0, 40], [9, 40], [9, 50]]), imagePath="b.png"
    )
    done = run("segment", frames, "--masks", frames, "--out", out, "--model", weights, "--size", 64)
    assert done.status == 0, done.err
    assert json.loads((out / "summary.json").read_text())["object_ids"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda path: path.write_text("{") and path,
            "{}: not a LabelMe or COCO file (JSONDecodeError: Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1)); export it again",
        ),
        (
            lambda path: path.write_text('{"videos": []}') and path,
            "{}: not a LabelMe or COCO file (KeyError: 'images'); export it again",
        ),
        (lambda path: labelme(path), "{}: no object is drawn in it: draw one"),
        (
            lambda path: labelme(path, shape("x", OUTLINE), imageWidth=50),
            "{}: 'x': drawn on a picture of 50x64, the frames are 96x64: "
            "draw on a frame of the video as it is",
        ),
        (
            lambda path: labelme(path, shape("x", OUTLINE, "cuboid")),
            "{}: not a LabelMe or COCO file (ValueError: a shape of type 'cuboid'); export it again",
        ),
        (
            lambda path: coco(
                path, {"image_id": 2, "bbox": [1, 1, 2, 2]}, {"image_id": 5, "bbox": [1, 1, 2, 2]}
            ),
            "{}: not a LabelMe or COCO file (ValueError: an annotation is of image 5, "
            "which is not there); export it again",
        ),
        (
            lambda path: coco(path, {"image_id": 0, "bbox": [1, 1, 2, 2], "track_id": [3]}),
            "{}: not a LabelMe or COCO file (ValueError: track_id [3] is neither a number nor a name); "
            "export it again",
        ),
        (
            lambda path: coco(path, {"image_id": 0, "segmentation": [[1e20, 1, 20, 20, 5, 30]]}),
            "{}: 'object': its segmentation cannot be drawn on 96x64 pixels (a polygon is no list of pairs, "
            "or far off the picture): give polygons, or run lengths of that size",
        ),
        (
            lambda path: coco(
                path,
                *({"image_id": i, "bbox": [1, 1, 2, 2]} for i in (0, 1)),
                images=[{"id": i, "file_name": f"{i}.jpg"} for i in (0, 1)],
            ),
            "{}: no picture in it is named like a frame: pictures are 0, 1; frames are a, b, c",
        ),
        (
            lambda path: coco(path, {"image_id": 0, "segmentation": {"counts": [9, 9], "size": [9, 2]}}),
            "{}: 'object': its segmentation cannot be drawn on 96x64 pixels (run lengths of another size): "
            "give polygons, or run lengths of that size",
        ),
    ],
    ids=["broken", "other", "empty", "size", "shape", "image", "track", "far", "frame", "runs"],
)
def test_bad_files_are_refused(write: Write, said: str, frames: Path, tmp_path: Path) -> None:
    file, out = write(tmp_path / "drawn.json") and tmp_path / "drawn.json", tmp_path / "out"
    done = run("segment", frames, "--masks", file, "--out", out, "--model", NOWHERE)
    assert_refused(done, said.format(file), out)
