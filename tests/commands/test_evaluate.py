"""``stremn evaluate`` on a small data set, and on a short real sequence with the shipped weights."""

import json
import os
import signal
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, read_masks, run
from PIL import Image

from layouts import hide_truth, write_test_dev, write_youtube
from small_data import labels, write_davis
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

    assert {p.name for p in out.iterdir()} == {"early", "late", "evaluation.json"}
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


def test_a_record_replaces_no_input(davis: Path, weights: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.read_bytes())
    for record in (own, next((davis / "JPEGImages").rglob("*.jpg")), tmp_path):
        done = run("evaluate", davis, "--model", own, "--json", record)
        assert (done.status, done.err.count("\n"), str(record) in done.err) == (BAD_INPUT, 1, True)
    assert own.read_bytes() == weights.read_bytes()


def test_too_few_masks_are_told_before_the_work(weights: Path, tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"one": 4, "short": 2})
    done = run("evaluate", root, "--model", weights, "--size", 48)
    message = (
        "sequence 'short': 2 of 2 frames are annotated, and 3 or more are needed to score it: leave it out"
    )
    assert done.err == f"stremn: {message}\n"


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
    monkeypatch.setattr(sys.modules["stremn.commands.evaluate"], "_segmented", interrupt)
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


TEST_DEV = [f"aerobatics/0000{i}.png" for i in range(4)] + [f"car-race/0000{i}.png" for i in range(3)]
VALID = [f"Annotations/aa/{5 * i:05d}.png" for i in range(7)] + [
    f"Annotations/bb/{5 * i:05d}.png" for i in range(3)
]


@pytest.fixture(params=["test-dev", "valid", "one part"])
def without_truth(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """A public test set, and the names in the zip that its server takes."""
    if request.param == "test-dev":
        return write_test_dev(tmp_path / "davis"), TEST_DEV
    root = write_youtube(write_youtube(tmp_path / "youtube"), "valid")
    hide_truth(root / "valid")
    return root if request.param == "valid" else root / "valid", VALID


def test_without_truth_the_server_gets_masks_and_a_zip(
    without_truth: tuple[Path, list[str]], weights: Path, tmp_path: Path
) -> None:
    root, names = without_truth
    tiny = ("--model", weights, "--size", 48)
    assert refused("evaluate", root, *tiny).endswith(
        "no mask to score against: give --out to keep the predictions"
    )
    archives = []
    for out in (tmp_path / "out", tmp_path / "again"):
        done = run("evaluate", root, *tiny, "--out", out)
        assert done.status == 0, done.err
        archives.append(out / "submission.zip")
        assert f"upload {archives[-1]} to its evaluation server" in " ".join(done.out.split())
        assert_complete_files_only(out)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with ZipFile(archives[0]) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == names
        for name in names:
            assert archive.read(name) == (tmp_path / "out" / name).read_bytes()
            with Image.open(archive.open(name)) as image:
                assert image.mode == "P"
                assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
                assert image.size == (96, 64)
                assert set(np.unique(image)) <= {0, 1, 2}
        # An object is there as it was given, and not before.
        given = "Annotations/aa/00010.png" if names is VALID else "car-race/00000.png"
        ids = {name: np.array(Image.open(archive.open(name))) for name in names}
    assert (ids[given][labels(10 if names is VALID else 0) == 2] == 2).all()
    assert not any((ids[name] == 2).any() for name in VALID[:2] if names is VALID)


def test_the_labels_are_those_that_are_scored(weights: Path, tmp_path: Path) -> None:
    """Truth or none, the masks are the same."""
    root = write_youtube(tmp_path / "youtube", "valid")
    tiny = ("--model", weights, "--size", 48)
    assert run("evaluate", root, *tiny, "--out", tmp_path / "scored").status == 0
    assert not (tmp_path / "scored" / "submission.zip").exists()
    hide_truth(root / "valid")
    assert run("evaluate", root, *tiny, "--out", tmp_path / "sent").status == 0
    for name in ("aa", "bb"):
        scored, sent = (
            read_masks(tmp_path / "scored" / name),
            read_masks(tmp_path / "sent/Annotations" / name),
        )
        assert list(scored) == list(sent)
        assert all((scored[frame] == sent[frame]).all() for frame in scored)


def test_masks_for_the_server_do_not_replace_those_that_give_objects(tmp_path: Path) -> None:
    root = hide_truth(write_youtube(tmp_path, "valid") / "valid")
    done = run("evaluate", root, "--out", root, "--overwrite", "--model", "none.safetensors")
    assert done.err == (
        f"stremn: output folder {root / 'Annotations'} is part of the data set: choose another one\n"
    )


def test_sequences_without_truth_beside_others_are_told(weights: Path, tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"given": 4, "true": 4})
    for index in (1, 2, 3):
        (root / "Annotations" / "480p" / "given" / f"{index:05d}.png").unlink()
    report, out = tmp_path / "report.json", tmp_path / "out"
    done = run("evaluate", root, "--model", weights, "--size", 48, "--out", out, "--json", report)
    assert done.status == 0, done.err
    assert "given: not scored, its masks only show objects where they are given" in done.err
    data = json.loads(report.read_text())
    assert (data["frames"], list(data["sequences"])) == (8, ["true"])
    assert {path.name for path in out.iterdir()} == {"given", "true", "evaluation.json"}


def test_training_videos_are_not_taken_for_evaluation(tmp_path: Path) -> None:
    root = write_youtube(tmp_path)
    message = f"{root}: has no part 'valid'; give {root / 'train'} to take that one"
    assert refused("evaluate", root, "--model", "none.safetensors") == message


def refused(*arguments: object) -> str:
    done = run(*arguments)
    assert (done.status, done.out, done.err.count("\n")) == (BAD_INPUT, "", 1)
    return done.err.removeprefix("stremn: ").rstrip("\n")
