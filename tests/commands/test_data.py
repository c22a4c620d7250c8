"""`stremn data check` as a user meets it."""

import json
from pathlib import Path

import pytest
from command_runs import BAD_INPUT, run

from small_data import write_davis, write_stills


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two data sets and a folder that is none."""
    root = tmp_path / "all"
    write_davis(root / "videos", {"a": 3, "b": 2})
    write_stills(root / "photos", 2)
    (root / "notes").mkdir()
    return root


def test_whole_data_sets(folder: Path, tmp_path: Path) -> None:
    done = run("data", "check", folder, "--json", tmp_path / "report.json")
    assert done.status == 0, done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert ["photos", "images", "+", "masks", "2", "images,", "4", "objects", "0", "0"] in rows
    assert any(row[:1] == ["videos"] and row[3:6] == ["2", "sequences,", "5"] for row in rows)
    assert "no stills or videos with masks in: notes" in done.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["root"] == str(folder)
    assert [(s["layout"], s["objects"], s["damaged"], s["missing"]) for s in report["sets"]] == [
        ("images + masks", 4, [], []),
        ("DAVIS layout", 4, [], []),
    ]


def test_one_data_set(folder: Path) -> None:
    done = run("data", "check", folder / "videos", "--jobs", 1)
    assert (done.status, done.err) == (0, "")
    assert "videos" in done.out


def test_faults_are_listed_and_summed_up_in_one_line(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "photos" / "images").iterdir():
        path.write_bytes(b"no image")
    (folder / "videos" / "JPEGImages" / "480p" / "a" / "00001.jpg").unlink()
    done = run("data", "check", folder, "--json", tmp_path / "report.json")
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1] == (
        "stremn: 2 damaged, 1 missing, in photos, videos; mend or remove what is listed"
    )
    assert f"damaged: {folder / 'photos' / 'images' / 'still0.jpg'}: not a readable image" in done.out
    assert f"missing: frame {folder / 'videos' / 'JPEGImages' / '480p' / 'a' / '00001'}" in done.out
    sets = json.loads((tmp_path / "report.json").read_text())["sets"]
    assert [(len(s["damaged"]), len(s["missing"])) for s in sets] == [(2, 0), (0, 1)]


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    root = write_stills(tmp_path / "photos", 15)
    for path in (root / "masks").iterdir():
        path.write_bytes(b"no mask")
    done = run("data", "check", root)
    assert done.status == BAD_INPUT
    assert done.out.count("not a readable image") == 10
    assert "and 5 more in photos; --json FILE lists all" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{folder}/notes",), "notes: neither it nor a folder in it is laid out like COCO, SBD"),
        (("{folder}/nowhere",), "nowhere: no such folder"),
        (("{folder}", "--json", "{folder}/no/report.json"), "report.json cannot be written: make the folder"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str, folder: Path) -> None:
    done = run("data", "check", *(a.format(folder=folder) for a in arguments))
    assert done.status == BAD_INPUT
    assert message in done.err
    assert done.err.count("\n") == 1


def test_real_data_are_whole(shared_data: Path) -> None:
    done = run("data", "check", shared_data / "coco128")
    assert done.status == 0, done.err
    assert "128 images" in done.out
