"""``stremn evaluate`` on a small data set, and on a short real sequence with the shipped weights."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, INTERRUPTED, read_masks, run
from PIL import Image

from small_data import labels, write_davis
from stremn.files import read_mask, write_mask
from stremn.models.checkpoint import SHIPPED


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences; object 2 joins ``late`` at frame 2."""
    root = write_davis(tmp_path_factory.mktemp("davis"), {"early": 4, "late": 6}, joins={"late": 2})
    (root / "val.txt").write_text("late\nearly\n")
    return root


def test_scores_are_those_of_the_masks_written(davis: Path, weights: Path, tmp_path: Path) -> None:
    out, report, again = tmp_path / "masks", tmp_path / "report.json", tmp_path / "again.json"
    done = run(
        *("evaluate", davis, "--split", davis / "val.txt", "--out", out, "--json", report),
        *("--model", weights, "--size", 64, "--policy", "oldest"),
    )
    assert done.status == 0, done.err
    assert "10 frames in" in done.out
    assert "overall" in done.out
    assert "late: 6/6 frames" in done.err

    assert {p.name for p in out.iterdir()} == {"early", "late"}
    masks = read_masks(out / "late")
    assert list(masks) == [f"{i:05d}" for i in range(6)]
    assert not any((masks[f"{i:05d}"] == 2).any() for i in range(2))
    assert (masks["00002"][labels(2) == 2] == 2).all()

    data = json.loads(report.read_text())
    assert data["frames"] == 10
    assert data["settings"]["policy"] == "oldest"
    assert data["split"] == str(davis / "val.txt")
    assert set(data["versions"]) == {"stremn", "python", "torch", "numpy"}
    assert run("score", out, davis, "--json", again).status == 0
    scored = json.loads(again.read_text())
    by_name = lambda table: sorted(table["objects"], key=lambda o: (o["sequence"], o["object_id"]))  # noqa: E731
    assert [(o["sequence"], o["object_id"]) for o in by_name(data)] == [
        *(("early", 1), ("early", 2), ("late", 1), ("late", 2))
    ]
    for ours, theirs in zip(by_name(data), by_name(scored), strict=True):
        assert ours == pytest.approx(theirs, nan_ok=True)
    assert data["overall"] == pytest.approx(scored["overall"])


def test_objects_join_at_their_first_annotation_where_few_frames_have_one(
    weights: Path, tmp_path: Path
) -> None:
    # As in YouTube-VOS: every third frame is annotated, and object 2 is there from frame 4 on.
    root = write_davis(tmp_path / "sparse", {"clip": 10}, joins={"clip": 4})
    truth = root / "Annotations" / "480p" / "clip"
    for index in range(10):
        if index % 3:
            (truth / f"{index:05d}.png").unlink()
    out, report = tmp_path / "out", tmp_path / "report.json"
    done = run("evaluate", root, "--model", weights, "--size", 48, "--out", out, "--json", report)
    assert done.status == 0, done.err
    masks = read_masks(out / "clip")
    assert len(masks) == 10
    assert not any((masks[f"{i:05d}"] == 2).any() for i in range(6))
    assert (masks["00006"][labels(6) == 2] == 2).all()
    assert [o["object_id"] for o in json.loads(report.read_text())["objects"]] == [1, 2]


def test_post_processing_and_several_views(davis: Path, weights: Path, tmp_path: Path) -> None:
    settings = {}
    for option in ("", "--postprocess", "--multi-scale"):
        report = tmp_path / f"report{option}.json"
        done = run("evaluate", davis, "--json", report, "--model", weights, "--size", 32, *option.split())
        assert done.status == 0, done.err
        settings[option] = json.loads(report.read_text())["settings"]
    assert [(s["postprocess"], s["multi_scale"]) for s in settings.values()] == [
        *((False, False), (True, False), (False, True))
    ]


def test_a_split_names_what_is_not_there(davis: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.txt"
    split.write_text("early\nnever\n")
    done = run("evaluate", davis, "--split", split, "--model", "none.safetensors")
    folder = davis / "JPEGImages" / "480p" / "never"
    assert done.err == (
        f"stremn: {folder}: no files of the sequence 'never'; check the split file and the data set\n"
    )
    assert done.status == BAD_INPUT


@pytest.mark.parametrize("content", [None, "", "\n# nothing\n"])
def test_split_file_without_names(content: str | None, davis: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.txt"
    if content is not None:
        split.write_text(content)
    done = run("evaluate", davis, "--split", split, "--model", "none.safetensors")
    assert done.err.startswith(f"stremn: {split}: ")
    assert done.err.count("\n") == 1
    assert done.status == BAD_INPUT


def test_not_a_data_set(tmp_path: Path) -> None:
    done = run("evaluate", tmp_path, "--model", "none.safetensors")
    assert done.err == (
        f"stremn: {tmp_path}: has no folder 'JPEGImages'; give the root of a DAVIS-layout data set\n"
    )
    assert done.status == BAD_INPUT


def test_outputs_are_checked_before_the_work(davis: Path, tmp_path: Path) -> None:
    nowhere = ("--model", "none.safetensors")
    report = tmp_path / "none" / "report.json"
    done = run("evaluate", davis, "--json", report, *nowhere)
    assert done.err == f"stremn: {report} cannot be written: make the folder {report.parent} first\n"

    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    done = run("evaluate", davis, "--out", full, *nowhere)
    assert done.err == f"stremn: output folder {full} is not empty: empty it, or set 'overwrite'\n"

    truth = davis / "Annotations" / "480p"
    done = run("evaluate", davis, "--out", truth, "--overwrite", *nowhere)
    assert done.err == f"stremn: output folder {truth} is part of the data set: choose another one\n"
    assert done.status == BAD_INPUT


def test_damaged_frame(weights: Path, tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"one": 4})
    path = root / "JPEGImages" / "480p" / "one" / "00002.jpg"
    path.write_bytes(b"no image")
    done = run("evaluate", root, "--model", weights, "--size", 48)
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1].startswith(f"stremn: {path}: not a readable image")


def test_interrupted(davis: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        signal.raise_signal(signal.SIGINT)

    # The function of this name hides its module.
    monkeypatch.setattr(sys.modules["stremn.commands.evaluate"], "evaluate_sequence", interrupt)
    done = run("evaluate", davis, "--model", weights)
    assert done.status == INTERRUPTED
    assert done.err == "stremn: interrupted; the files written so far are complete\n"


@pytest.fixture
def shipped() -> None:
    """Weights come with a release; without them CI fails and a checkout skips."""
    if not (SHIPPED / "stremn-lite.safetensors").is_file():
        message = "the weights of stremn-lite are not in the package"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.usefixtures("shipped")
def test_real_frames_with_the_shipped_weights(shared_data: Path, tmp_path: Path) -> None:
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        folder = tmp_path / "davis" / kind / "480p" / "blackswan"
        folder.mkdir(parents=True)
        for index in range(12):
            name = f"{index:05d}.{suffix}"
            (folder / name).symlink_to(shared_data / "DAVIS2016" / kind / "480p" / "blackswan" / name)
    report, out = tmp_path / "report.json", tmp_path / "out"
    done = run("evaluate", tmp_path / "davis", "--json", report, "--out", out, "--size", 240)
    assert done.status == 0, done.err
    assert json.loads(report.read_text())["overall"]["j_mean"] > 0.6
    with Image.open(out / "blackswan" / "00011.png") as image:
        assert set(np.unique(image)) == {0, 1}


def test_masks_where_objects_are_given_and_nowhere_else(weights: Path, tmp_path: Path) -> None:
    root = write_davis(tmp_path / "public", {"a": 5}, joins={"a": 2})
    for index in (1, 3, 4):
        (root / "Annotations" / "480p" / "a" / f"{index:05d}.png").unlink()
    masks = root / "Annotations" / "480p" / "a"
    write_mask(masks / "00002.png", np.where(read_mask(masks / "00002.png").labels == 2, 2, 0))
    done = run("evaluate", root, "--model", weights, "--size", 48)
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1].endswith("no mask to score against: give --out to keep the predictions")
    report = tmp_path / "report.json"
    done = run(
        *("evaluate", root, "--model", weights, "--size", 48),
        *("--out", tmp_path / "out", "--json", report),
    )
    assert done.status == 0
    assert "not scored" in done.err
    assert len(list((tmp_path / "out" / "a").iterdir())) == 5
    assert json.loads(report.read_text())["frames"] == 5
