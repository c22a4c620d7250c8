"""Tables where the truth is not public: masks and zips for the servers; and YouTube-VOS, seen and unseen."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, interrupt_at, run

from layouts import hide_truth, write_test_dev, write_youtube
from stremn.files import read_mask
from stremn.metrics import contour_accuracy, region_similarity

CAR_RACE = [f"car-race/0000{index}.png" for index in range(3)]
BB = [f"Annotations/bb/{frame}.png" for frame in ("00000", "00005", "00010")]


@pytest.fixture(scope="module")
def test_dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_test_dev(tmp_path_factory.mktemp("test-dev"))


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """Training has seen boxes; the second object of each video is a ball; ``aa`` lacks two masks."""
    root = write_youtube(write_youtube(tmp_path / "youtube"), "valid", ("box", "ball"))
    for frame in ("00005", "00025"):
        (root / "valid" / "Annotations" / "aa" / f"{frame}.png").unlink()
    return root


def names(path: Path) -> list[str]:
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_each_row_of_a_table_leaves_what_the_server_takes(
    test_dev: Path, weights: Path, tmp_path: Path
) -> None:
    out, tiny = tmp_path / "out", ("--model", weights, "--size", 48)
    done = run("ablate", "slots", test_dev, "--out", out, *tiny)
    assert done.status == 0, done.err
    assert_complete_files_only(out)
    zips = {f"table2-k-{slots}.zip" for slots in range(3, 8)}
    assert {path.name for path in out.iterdir()} == zips | {
        *("masks", "results.jsonl", "table2.json", "table2-ages.png")
    }
    line = next(line for line in done.out.splitlines() if "K = 3" in line)
    assert line.split()[3:] == ["-", "-", "-", "76.3"]
    assert f"upload the zips of the rows, table2-*.zip in {out}" in " ".join(done.out.split())
    data = json.loads((out / "table2.json").read_text())
    assert "2 sequences, 4 objects" in data["facts"]["data"]
    assert "without truth" in data["facts"]["data"]
    assert data["rows"][0]["means"] == {}

    # The same labels as evaluate writes, in the same zip.
    alone = tmp_path / "alone"
    done = run("evaluate", test_dev, "--out", alone, *tiny, "--slots", 3, "--postprocess")
    assert done.status == 0, done.err
    assert (out / "table2-k-3.zip").read_bytes() == (alone / "submission.zip").read_bytes()

    # Again nothing is run; of masks that are lost or changed, only their row and sequence.
    before = {name: (out / name).read_bytes() for name in zips}
    for frames, lost in ((0, None), (3, "car-race"), (4, "aerobatics")):
        if lost == "car-race":
            (out / "masks" / "table2" / "k-4" / lost / "00002.png").unlink()
        elif lost:
            other = out / "masks" / "table2" / "k-4" / "car-race" / "00000.png"
            (out / "masks" / "table2" / "k-6" / lost / "00001.png").write_bytes(other.read_bytes())
        assert run("table", 2, test_dev, "--out", out, *tiny).status == 0
        assert json.loads((out / "table2.json").read_text())["frames_of_this_run"] == frames
        assert {name: (out / name).read_bytes() for name in zips} == before


@pytest.mark.parametrize(
    ("number", "rows"),
    [
        (
            1,
            "a-remove-oldest b-remove-newest c-random-drop-seed-0 c-random-drop-seed-1 "
            "d-random-select-seed-0 d-random-select-seed-1 e-first-and-last-frame f-drop-most-similar "
            "ours-learned growing-memory",
        ),
        (
            3,
            "single-scale single-scale-post-processed multi-scale multi-scale-post-processed growing-memory "
            "first-and-latest-frame",
        ),
    ],
)
def test_zips_of_the_other_tables(
    number: int, rows: str, test_dev: Path, weights: Path, tmp_path: Path
) -> None:
    options = ("--model", weights, "--size", 32, "--seeds", 2, "--sequences", "car-race")
    done = run("table", number, test_dev, "--out", tmp_path, *options)
    assert done.status == 0, done.err
    found = {path.name: names(path) for path in tmp_path.glob("*.zip")}
    assert found == {f"table{number}-{row}.zip": CAR_RACE for row in rows.split()}


def test_an_interrupted_table_has_no_zip_and_goes_on(
    test_dev: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(out: Path) -> int:
        return run("table", 2, test_dev, "--out", out, "--model", weights, "--size", 48).status

    begun = interrupt_at(5 * 4 + 7, monkeypatch)
    out, whole = tmp_path / "out", tmp_path / "whole"
    out.mkdir()
    (out / "table2-k-3.zip").write_text("of an earlier run")
    assert table(out) == INTERRUPTED
    assert_complete_files_only(out)
    assert not [*out.glob("*.zip")]
    begun.clear()
    assert table(out) == 0
    # Only the second sequence was left.
    assert len(begun) == 5 * 3
    assert table(whole) == 0
    for path in whole.glob("*.zip"):
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_no_long_versions_without_truth(test_dev: Path, tmp_path: Path) -> None:
    done = run("table", 2, test_dev, "--out", tmp_path / "out", "--long", 9, "--model", "none.safetensors")
    assert done.err == "stremn: --long cannot be given with data without truth: leave it out\n"
    assert done.status == BAD_INPUT
    assert not (tmp_path / "out").exists()


def test_youtube_vos_seen_and_unseen(youtube: Path, weights: Path, tmp_path: Path) -> None:
    out, tiny = tmp_path / "out", ("--model", weights, "--size", 32)
    done = run("table", 4, youtube, "--out", out, *tiny)
    assert done.status == 0, done.err
    assert not [*out.glob("*.zip")]
    data = json.loads((out / "table4.json").read_text())
    assert [row["name"] for row in data["rows"]] == ["STReMN", "STReMN-MS"]
    assert [len(row["runs"][0]["settings"]["views"]) for row in data["rows"]] == [1, 8]
    assert all(row["runs"][0]["settings"]["postprocess"] for row in data["rows"])
    assert data["rows"][1]["paper"] == {
        **{"j_seen": 0.807, "f_seen": 0.85, "j_unseen": 0.776, "f_unseen": 0.855, "g": 0.822}
    }
    words = done.out.split()
    assert {"79.6", "83.8", "76.1", "84.1", "80.9"} <= set(words)

    # The same from the masks of evaluate: each object from the frame after the given one to the last truth.
    masks = tmp_path / "masks"
    assert run("evaluate", youtube / "valid", "--out", masks, *tiny, "--postprocess").status == 0
    truth = youtube / "valid" / "Annotations"
    shown = {"aa": {1: ("00010", "00015", "00020", "00030"), 2: ("00015", "00020", "00030")}}
    shown["bb"] = {1: ("00005", "00010"), 2: ("00005", "00010")}
    scores = np.array(
        [
            [
                np.mean([function(*masks_of(i, masks / name, truth / name, f)) for f in shown[name][i]])
                for function in (region_similarity, contour_accuracy)
            ]
            for i in (1, 2)
            for name in ("aa", "bb")
        ]
    )
    seen, unseen = scores[:2].mean(axis=0), scores[2:].mean(axis=0)
    means = data["rows"][0]["means"]
    assert [means[name] for name in ("j_seen", "f_seen", "j_unseen", "f_unseen")] == pytest.approx(
        [*seen, *unseen]
    )
    assert means["g"] == pytest.approx(np.mean([seen, unseen]))
    assert f"{100 * means['g']:.1f}" in words
    told = {
        (o["sequence"], o["object_id"]): o["seen"] for o in data["rows"][0]["runs"][0]["score"]["objects"]
    }
    assert told == {("aa", 1): True, ("aa", 2): False, ("bb", 1): True, ("bb", 2): False}

    # So does score, which is told by the meta.json that this is YouTube-VOS.
    report = tmp_path / "score.json"
    assert run("score", masks, youtube / "valid", "--json", report).status == 0
    assert json.loads(report.read_text())["overall"]["j_mean"] == pytest.approx(scores[:, 0].mean())

    # Without the training part there are no groups, and nothing is run again to say so.
    (youtube / "train" / "meta.json").unlink()
    done = run("table", 4, youtube, "--out", out, *tiny)
    assert done.status == 0, done.err
    assert "lacks categories" in done.out
    data = json.loads((out / "table4.json").read_text())
    assert data["frames_of_this_run"] == 0
    assert "g" not in data["rows"][0]["means"]
    assert data["rows"][0]["means"]["j_mean"] == pytest.approx(scores[:, 0].mean())


def masks_of(object_id: int, predicted: Path, truth: Path, frame: str) -> list[np.ndarray]:
    folders = (predicted, truth)
    return [read_mask(f / f"{frame}.png", allow_empty=True).labels == object_id for f in folders]


def test_youtube_vos_without_truth(youtube: Path, weights: Path, tmp_path: Path) -> None:
    hide_truth(youtube / "valid")
    options = ("--model", weights, "--size", 32, "--sequences", "bb")
    done = run("table", 4, youtube, "--out", tmp_path / "out", *options)
    assert done.status == 0, done.err
    line = next(line for line in done.out.splitlines() if "STReMN-MS" in line)
    assert line.split()[1:] == ["-"] * 5 + ["80.7", "85.0", "77.6", "85.5", "82.2"]
    found = {path.name: names(path) for path in (tmp_path / "out").glob("*.zip")}
    assert found == {"table4-stremn.zip": BB, "table4-stremn-ms.zip": BB}
