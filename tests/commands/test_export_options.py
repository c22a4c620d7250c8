"""``--export`` of ``stremn segment``: read back, they are the masks of the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, NOWHERE, assert_complete_files_only, interrupt_at, read_masks, run
from pycocotools import mask as coco_mask

from stremn.commands.options import EXPORT_NAMES
from stremn.exports import EXPORTS
from stremn.files import write_mask


def test_exports_are_the_masks_of_the_run(weights: Path, video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    done = run(*args, "--export", "coco", "--export", "mots", "--name", "7=left = west", "--name", "200=é")
    assert done.status == 0, done.err
    masks = read_masks(out / "masks")
    data = json.loads((out / "exports/coco/annotations/instances_default.json").read_text("utf-8"))
    assert [category["name"] for category in data["categories"]] == ["left = west", "é"]
    names = [image["file_name"] for image in data["images"]]
    assert names == [f"{name}.jpg" for name in masks]
    read = {name: np.zeros_like(mask) for name, mask in masks.items()}
    for annotation in data["annotations"]:
        pixels = coco_mask.decode(annotation["segmentation"]) > 0
        read[f"{annotation['image_id'] - 1:05d}"][pixels] = annotation["attributes"]["track_id"]
    assert all(np.array_equal(read[name], masks[name]) for name in masks)
    assert_complete_files_only(out)
    # A later run without exports leaves none of masks that are gone.
    assert run(*args, "--overwrite").status == 0
    assert not [path for path in (out / "exports").rglob("*") if path.is_file()]


def test_an_export_that_cannot_be_whole_replaces_nothing(
    weights: Path, video: Path, mask: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    args = ("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert run(*args, "--export", "coco", "--export", "gif").status == 0
    before = {path: path.read_bytes() for path in (out / "exports").rglob("*") if path.is_file()}
    done = run("export", out, "coco", "gif", "--overwrite")
    assert (done.status, "no mask" in done.err) == (0, False)
    damaged = sorted((out / "masks").iterdir())[2]
    damaged.write_text("damaged")
    done = run("export", out, "coco", "gif", "--overwrite")
    assert done.status == BAD_INPUT
    assert str(damaged) in done.err
    assert {path: path.read_bytes() for path in (out / "exports").rglob("*") if path.is_file()} == before
    damaged.unlink()
    done = run("export", out, "coco", "--overwrite")
    assert done.status == 0
    assert f"warning: {out} has no mask of frame {damaged.stem}: left out" in done.err


def test_an_interrupted_run_is_exported(
    weights: Path, video: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    interrupt_at(3, monkeypatch)
    run("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48, "--export", "coco")
    data = json.loads((out / "exports/coco/annotations/instances_default.json").read_text("utf-8"))
    assert len(data["images"]) == len(read_masks(out / "masks")) == 3
    assert_complete_files_only(out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--export", "coko"), f"unknown export 'coko': choose one of {', '.join(EXPORTS)}"),
        (("--name", "dog"), "--name dog is not like 2=dog: give the id of an object and its name"),
        (("--name", "2="), "--name 2= is not like 2=dog: give the id of an object and its name"),
        (("--name", "300=dog"), "name 'dog' is for object 300: ids go from 1 to 255"),
        (("--name", "3=\n"), "name '\\n' of object 3 has nothing or control characters in it"),
    ],
)
def test_refused_before_weights_are_read(
    options: tuple[str, ...], message: str, video: Path, mask: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", NOWHERE, *options)
    assert (done.status, done.err, out.exists()) == (BAD_INPUT, f"stremn: {message}\n", False)


def test_help_names_every_export() -> None:
    assert tuple(EXPORTS) == EXPORT_NAMES


def test_a_finished_run_is_exported_as_it_would_have_been(
    weights: Path, video: Path, mask: Path, tmp_path: Path
) -> None:
    at_once, later = tmp_path / "at-once", tmp_path / "later"
    args = ("segment", video, "--masks", mask, "--model", weights, "--size", 48, "--out")
    names = ("--name", "7=dog", "--behind", "white")
    chosen = ("coco", "cvat", "alpha", "cutout", "gif")
    formats = [word for name in chosen for word in ("--export", name)]
    assert run(*args, at_once, *formats, *names).status == 0
    assert run(*args, later).status == 0
    done = run("export", later, *chosen, *names)
    assert (done.status, done.out) == (0, f"8 frames; see {later / 'exports'}\n"), done.err
    files = [path for path in (at_once / "exports").rglob("*") if path.is_file()]
    assert len(files) == 28
    for path in files:
        assert (later / path.relative_to(at_once)).read_bytes() == path.read_bytes(), path
    assert_complete_files_only(later)

    again = run("export", later, "gif")
    assert (
        again.err
        == f"stremn: {later}/exports/overlay.gif was exported already: remove it, or set 'overwrite'\n"
    )
    assert run("export", later, "gif", "--overwrite").status == 0
    # Masks of a run that was interrupted end earlier.
    for number in (5, 6, 7):
        (later / f"masks/{number:05d}.png").unlink()
    assert run("export", later, "alpha", "--overwrite").out.startswith("5 frames")
    assert len(list((later / "exports/alpha").iterdir())) == 5


def test_runs_that_cannot_be_exported(video: Path, mask: Path, tmp_path: Path) -> None:
    done = run("export", tmp_path, "gif")
    told = "summary.json does not say which video was segmented: give the folder of a run, or --source"
    assert (done.status, done.err) == (BAD_INPUT, f"stremn: {tmp_path}/{told}\n")
    done = run("export", tmp_path, "gif", "--source", video)
    told = (
        f"stremn: {tmp_path} has no mask of a frame of eight.mp4: give the video of the run with --source\n"
    )
    assert (done.status, done.err.splitlines(True)[-1]) == (BAD_INPUT, told)
    (tmp_path / "masks").mkdir()
    write_mask(tmp_path / "masks/00000.png", np.ones((8, 8), np.uint8))
    done = run("export", tmp_path, "gif", "--source", video)
    assert done.status == BAD_INPUT
    assert (
        "masks/00000.png is not of the size of its frame: give the video of the run with --source" in done.err
    )
    assert not list((tmp_path / "exports").rglob("*"))
