"""`stremn score` as a user meets it."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner, Result

from stremn import StremnError
from stremn.commands import main
from stremn.commands.evaluate import render_scores, score
from stremn.metrics import ScoreTable, score_folders, score_sequence

APP = typer.Typer()
APP.command()(score)


def run(*args: object) -> Result:
    return CliRunner().invoke(APP, [str(a) for a in args])


def write(folder: Path, masks: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / f"{index:05d}.png")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Sequence `one` of one object, half right; `two` of the objects 3 and 200, all right."""
    one = np.zeros((50, 80), np.uint8)
    one[10:40, 20:60] = 1
    half = one.copy()
    half[:, :40] = 0
    two = np.where(one > 0, 3, 0).astype(np.uint8)
    two[:5, :5] = 200
    predictions, truth = tmp_path / "predictions", tmp_path / "truth"
    write(truth / "one", [one] * 5)
    write(predictions / "one", [half] * 5)
    write(truth / "two", [two] * 5)
    write(predictions / "two", [two] * 5)
    return predictions, truth


def test_table_in_percent(folders: tuple[Path, Path]) -> None:
    result = run(*folders)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    table = score_folders(*folders)
    one = table.objects[0]
    assert one.j_mean == 0.5
    for label, part in [
        (("one", "1"), one),
        (("two", "3"), table.objects[1]),
        (("two", "200"), table.objects[2]),
        (("two", "mean"), table.sequences[1]),
        (("overall", "3"), table.overall),
    ]:
        assert [*label, *[f"{100 * v:.1f}" for v in part.values().values()]] in rows
    assert ["sequence", "object", "J&F", "J", "J-R", "J-D", "F", "F-R", "F-D"] in rows
    assert not [row for row in rows if row[:2] == ["one", "mean"]]


def test_long_names_stay_whole(folders: tuple[Path, Path]) -> None:
    name = "a-sequence-with-a-name-of-fifty-characters-in-all"
    for folder in folders:
        (folder / "one").rename(folder / name)
    assert f"{name} " in run(*folders).stdout


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_names_that_are_no_utf8(folders: tuple[Path, Path], tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    for folder in folders:
        (folder / "one").rename(folder / name)
    table, text = tmp_path / "a.json", tmp_path / "a.csv"
    assert run(*folders, "--json", table, "--csv", text).exit_code == 0
    assert name in json.loads(table.read_text("utf-8"))["sequences"]
    assert "caf\\udce9" in text.read_text("utf-8")


def test_files_hold_the_same_figures(folders: tuple[Path, Path], tmp_path: Path) -> None:
    as_json, as_csv = tmp_path / "scores.json", tmp_path / "scores.csv"
    as_json.write_text("old")
    result = run(*folders, "--json", as_json, "--csv", as_csv, "--jobs", 1)
    assert result.exit_code == 0, result.output
    table = score_folders(*folders)
    assert json.loads(as_json.read_text()) == table.to_dict()
    assert as_csv.read_text() == table.to_csv()
    rows = list(csv.DictReader(as_csv.open()))
    assert [(r["level"], r["sequence"], r["object_id"]) for r in rows[:3]] == [
        ("object", "one", "1"),
        ("object", "two", "3"),
        ("object", "two", "200"),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["predictions", "scores.csv", "scores.json", "truth"]


def test_split_chooses_sequences(folders: tuple[Path, Path], tmp_path: Path) -> None:
    split = tmp_path / "val.txt"
    split.write_text("two\n")
    result = run(*folders, "--split", split)
    assert "overall" in result.stdout
    assert "one" not in result.stdout


def test_real_truth_scores_full_marks(shared_data: Path, tmp_path: Path) -> None:
    truth = shared_data / "DAVIS2017"
    report = tmp_path / "scores.json"
    result = run(truth / "Annotations" / "480p" / "schoolgirls", truth, "--json", report)
    assert result.exit_code == 0, result.output
    read = json.loads(report.read_text())
    assert [o["object_id"] for o in read["objects"]] == [1, 2, 3, 4, 5, 6, 7]
    assert read["overall"]["j_and_f"] == 1


def refused(*args: object) -> str:
    result = run(*args)
    assert isinstance(result.exception, StremnError), result.output
    assert not result.stdout
    return str(result.exception)


def test_bad_input_is_one_line(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, truth = folders
    assert "nowhere is not a folder" in refused(tmp_path / "nowhere", truth)
    (predictions / "two" / "00002.png").unlink()
    report = tmp_path / "scores.json"
    assert "lacks 1 of 3 frames (00002)" in refused(predictions, truth, "--json", report)
    assert not report.exists()


def test_output_that_cannot_be_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert f"make the folder {tmp_path / 'no'} first" in refused(*folders, "--csv", tmp_path / "no" / "s.csv")
    taken = tmp_path / "taken"
    taken.mkdir()
    result = run(*folders, "--json", taken)
    assert isinstance(result.exception, StremnError)
    assert f"{taken} cannot be written: it is a folder" in str(result.exception)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["predictions", "taken", "truth"]


def test_jobs_below_one() -> None:
    result = run("a", "b", "--jobs", 0)
    assert result.exit_code == 2
    assert "--jobs" in result.output


def test_status_and_streams(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *map(str, folders)]) == 0
    assert "overall" in capsys.readouterr().out
    missing = folders[1] / "none"
    assert main(["score", str(folders[0]), str(missing)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert len(said.err.splitlines()) == 1
    assert f"{missing} is not a folder" in said.err


def test_table_of_scores_from_memory() -> None:
    """`evaluate` renders scores that were never files."""
    mask = np.pad(np.ones((4, 4), np.uint8), 9)
    table = ScoreTable(tuple(score_sequence("paragliding-launch", [mask] * 3, [mask] * 3)))
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(render_scores(table))
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["paragliding-launch", "1", "100.0", "100.0", "100.0", "0.0", "100.0", "100.0", "0.0"] in rows
