"""``stremn ablate`` and ``stremn table`` on a small data set."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, run
from PIL import Image

from small_data import write_davis
from stremn.sessions import SegmentationSession

NOWHERE = ("--model", "none.safetensors")


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences; object 2 joins ``late`` at frame 2."""
    return write_davis(tmp_path_factory.mktemp("davis"), {"early": 4, "late": 4}, joins={"late": 2})


def check_outputs(out: Path, number: int) -> dict:
    assert_complete_files_only(out)
    names = {p.name for p in out.iterdir()}
    assert names == {"results.jsonl", f"table{number}.json", f"table{number}.png", f"table{number}-ages.png"}
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            assert np.array(image.convert("L")).std() > 5
    return json.loads((out / f"table{number}.json").read_text())


def test_policies(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("ablate", "policies", davis, "--out", out, "--model", weights, "--size", 48)
    options = ("--slots", 3, "--candidate-every", 1, "--seeds", 2, "--long", 6)
    done = run(*arguments, *options, "--sequences", "late")
    assert done.status == 0, done.err
    assert "Table 1" in done.out
    assert "(A) remove oldest" in done.out
    assert "76.7" in done.out
    assert "each played forth and back until 6 frames or more were shown: 7 frames" in done.out
    assert "one set" in done.out
    data = check_outputs(out, 1)
    assert data["frames_of_this_run"] == 10 * 7
    assert [row["name"] for row in data["rows"]][-2:] == ["(ours) learned", "growing memory"]
    assert [len(row["runs"]) for row in data["rows"]] == [1, 1, 2, 2, 1, 1, 1, 1]
    assert data["rows"][0]["paper"] == {"j_mean": 0.733, "f_mean": 0.8, "j_and_f": 0.767}
    held = data["rows"][0]["runs"][0]["items"]["late"]["frames_in_memory_at_the_end"]
    assert held == {"1": [0, 6, 5], "2": [2, 6, 5]}
    assert {"commit", "command", "machine", "date", "versions", "weights_sha256"} <= set(data)

    # The same again runs nothing; one more sequence runs only that, by the other command too.
    again = run(*arguments, *options, "--sequences", "late")
    assert again.status == 0
    assert check_outputs(out, 1)["frames_of_this_run"] == 0
    assert again.out.splitlines()[:-1] == done.out.splitlines()[:-1]
    both = run("table", 1, *arguments[2:], *options)
    assert both.status == 0, both.err
    assert check_outputs(out, 1)["frames_of_this_run"] == 10 * 7
    assert "2 sequences, 4 objects" in both.out


def test_slots(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("ablate", "slots", davis, "--out", out, "--model", weights, "--size", 48, "--policy", "oldest")
    assert done.status == 0, done.err
    data = check_outputs(out, 2)
    assert [row["name"] for row in data["rows"]] == [f"K = {k}" for k in (3, 4, 5, 6, 7)]
    assert {row["runs"][0]["settings"]["policy"] for row in data["rows"]} == {"oldest"}
    assert "each played once" in data["facts"]["data"]
    # The paper prints J&F alone.
    assert data["rows"][0]["paper"] == {"j_mean": None, "f_mean": None, "j_and_f": 0.763}


def test_ways_of_testing(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("table", 3, davis, "--out", out, "--model", weights, "--size", 32, "--sequences", "early")
    assert done.status == 0, done.err
    data = check_outputs(out, 3)
    assert [len(row["runs"][0]["settings"]["views"]) for row in data["rows"]] == [1, 1, 8, 8, 1]


def test_an_interrupted_table_goes_on(
    davis: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ("ablate", "slots", davis, "--out", out, "--model", weights, "--size", 48)
    step, count = SegmentationSession.step, 0

    def interrupted(session: SegmentationSession, *given: object, **named: object) -> object:
        nonlocal count
        count += 1
        if count == 5 * 4 + 7:
            signal.raise_signal(signal.SIGINT)
        return step(session, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentationSession, "step", interrupted)
    done = run(*arguments)
    assert done.status == INTERRUPTED
    assert len((out / "results.jsonl").read_text().splitlines()) == 5
    assert not (out / "table2.json").exists()
    count = 1000
    assert run(*arguments).status == 0
    # Only the second sequence was left.
    assert count == 1000 + 5 * 4
    whole = tmp_path / "whole"
    assert run(*arguments[:4], whole, *arguments[5:]).status == 0
    rows = [json.loads((folder / "table2.json").read_text())["rows"] for folder in (out, whole)]
    assert rows[0] == rows[1]


def refused(*arguments: object) -> str:
    done = run(*arguments)
    assert done.status == BAD_INPUT
    assert done.out == ""
    assert done.err.count("\n") == 1
    return done.err.removeprefix("stremn: ").rstrip("\n")


def test_bad_input_is_refused_in_one_line_before_the_work(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    policies: Callable[..., str] = lambda *more: refused("ablate", "policies", davis, "--out", out, *more)  # noqa: E731
    assert policies("--sequences", "early,never", *NOWHERE) == (
        "--sequences names 'never', which the data set or split does not have"
    )
    assert policies("--sequences", ",", *NOWHERE) == "--sequences names none: give names separated by commas"
    assert policies("--slots", 1, *NOWHERE).startswith("--slots 1 is too few")
    assert policies("--candidate-every", 0, *NOWHERE).startswith("--candidate-every 0 is too few")
    assert policies("--size", 9000, *NOWHERE).startswith("--size 9000 is not from 0 to 8192")
    assert refused("table", 4, davis, "--out", out, *NOWHERE) == (
        "there is no table 4 here: choose 1 (policies), 2 (slots), 3 (testing) or 5 (prediction)"
    )
    for number, option in ((1, ("--policy", "oldest")), (2, ("--slots", 5)), (3, ("--postprocess",))):
        message = refused("table", number, davis, "--out", out, *option, *NOWHERE)
        assert message.startswith(f"{option[0]} cannot be given with table {number}")
    assert refused("table", 2, davis, "--out", out, "--policy", "never").startswith("unknown policy 'never'")
    assert refused("table", 2, tmp_path, "--out", out).startswith(f"{tmp_path}: has no folder 'JPEGImages'")
    assert not out.exists()
    out.touch()
    assert refused("table", 2, davis, "--out", out, *NOWHERE) == f"output {out} is a file: give a folder"
    assert refused("table", 2, davis, "--out", out / "in").startswith(f"cannot write {out / 'in'} ")


def test_unknown_weights(davis: Path, tmp_path: Path) -> None:
    assert refused("table", 1, davis, "--out", tmp_path / "out", *NOWHERE).startswith("unknown model 'none")
