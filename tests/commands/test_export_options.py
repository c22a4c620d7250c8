"""``--export`` of ``stremn segment``: read back, they are the masks of the run."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, NOWHERE, assert_complete_files_only, interrupt_at, read_masks, run
from pycocotools import mask as coco_mask

from stremn.exports import EXPORTS


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


def test_help_names_every_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    done = run("segment", "--help")
    assert all(name in done.out.split("--export")[1].split("--name")[0] for name in EXPORTS)
