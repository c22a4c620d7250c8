"""``stremn ablate`` and ``stremn table`` on a small data set."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, interrupt_at, run
from PIL import Image

from small_data import write_davis
from stremn import create_model, save_pretrained

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
    # As the paper, unless told otherwise.
    assert data["facts"]["settings"].endswith(", post-processed")
    arguments = ("--model", weights, "--size", 48, "--sequences", "early", "--no-postprocess")
    done = run("table", 2, davis, "--out", out, *arguments)
    assert done.status == 0, done.err
    assert check_outputs(out, 2)["facts"]["settings"].endswith(", not post-processed")
    # The paper prints J&F alone.
    assert data["rows"][0]["paper"] == {"j_mean": None, "f_mean": None, "j_and_f": 0.763}


def test_ways_of_testing(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("table", 3, davis, "--out", out, "--model", weights, "--size", 32, "--sequences", "early")
    assert done.status == 0, done.err
    data = check_outputs(out, 3)
    settings = [row["runs"][0]["settings"] for row in data["rows"]]
    assert [len(s["views"]) for s in settings] == [1, 1, 8, 8, 1, 1]
    assert [s["policy"] for s in settings] == ["learned"] * 4 + ["every-nth", "first-and-last"]
    # STM with constant memory: the paper prints J alone.
    assert data["rows"][-1]["paper"] == {"j_mean": 0.777, "f_mean": None, "j_and_f": None}
    held = data["rows"][-1]["runs"][0]["items"]["early"]["frames_in_memory_at_the_end"]
    assert {frame for frames in held.values() for frame in frames} == {0, 3, -1}
    assert "77.7" in done.out
    assert "multi-scale, post-processed 75.6 82.7 79.1" in data["facts"]["paper, test-dev"]


def test_rows_with_weights_of_their_own(davis: Path, weights: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "log.jsonl").write_text(json.dumps({"step": 30, "seconds": 61.0}) + "\n")
    other = save_pretrained(create_model("stremn-lite"), tmp_path / "run" / "oldest.safetensors")
    rows = ("--model", f"learned={weights}", "--model", f"oldest={other}")
    arguments = ("--out", tmp_path / "out", "--size", 48, "--sequences", "early", "--slots", 3)
    done = run("ablate", "policies", davis, *rows, *arguments)
    assert done.status == 0, done.err
    assert "30 steps, 1 min" in done.out
    data = check_outputs(tmp_path / "out", 1)
    assert [row["name"] for row in data["rows"]] == ["(A) remove oldest", "(ours) learned"]
    assert [row["file"] for row in data["rows"]] == [str(other), str(weights)]
    assert data["facts"]["weights"].startswith("each row has its own")
    # Each is as it is with these weights in every row, and that is not run again.
    again = run("ablate", "policies", davis, "--model", other, *arguments, "--seeds", 1)
    assert again.status == 0, again.err
    shared = check_outputs(tmp_path / "out", 1)
    assert shared["frames_of_this_run"] == (len(shared["rows"]) - 1) * 4
    assert shared["rows"][0]["means"] == data["rows"][0]["means"]
    message = refused("table", 2, davis, "--model", f"8={weights}", *arguments[:2])
    assert message == "--model gives a row '8', which table 2 has not: choose from 3, 4, 5, 6, 7"
    message = refused("table", 1, davis, *rows, *arguments[:2], "--horizon", 3)
    assert message.startswith("--horizon cannot be given with weights for each row")


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's network with a fusion module, narrow and untrained."""
    torch.manual_seed(0)
    narrow = {"key_dim": 8, "value_dim": 16, "update_dim": 8}
    model = create_model("stremn-r50", fusion="least-similar", **narrow)
    return save_pretrained(model, tmp_path_factory.mktemp("fused") / "fused.safetensors")


def test_fusion_is_removed_without_training(davis: Path, fused: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("table", 6, davis, "--out", out, "--size", 64, "--slots", 4, "--policy", "oldest")
    done = run(*arguments, "--model", fused, "--sequences", "early", "--long", 7)
    assert done.status == 0, done.err
    assert done.out.count("76.7") == 2
    data = check_outputs(out, 6)
    assert [(row["name"], row["paper"] and row["paper"]["j_and_f"]) for row in data["rows"]] == [
        ("with fusion, least-similar", 0.767),
        ("without fusion", 0.767),
        ("with fusion, most-similar", None),
        ("with fusion, all-others", None),
    ]
    settings = [row["runs"][0]["settings"] for row in data["rows"]]
    assert [s["fusion"] for s in settings] == ["least-similar", "none", "most-similar", "all-others"]
    assert all(s["postprocess"] for s in settings)
    assert len({row["weights_sha256"] for row in data["rows"]}) == 1
    # What is fused changes what is read, so figures of random weights differ.
    assert data["rows"][0]["means"] != data["rows"][1]["means"]
    message = refused(*arguments, "--model", weights)
    assert message.startswith("table 6 needs weights with a fusion module: give --model a file")


def test_an_interrupted_table_goes_on(
    davis: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = ("ablate", "slots", davis, "--out", out, "--model", weights, "--size", 48)
    begun = interrupt_at(5 * 4 + 7, monkeypatch)
    done = run(*arguments)
    assert done.status == INTERRUPTED
    assert len((out / "results.jsonl").read_text().splitlines()) == 5
    assert not (out / "table2.json").exists()
    begun.clear()
    assert run(*arguments).status == 0
    # Only the second sequence was left.
    assert len(begun) == 5 * 4
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
    assert refused("table", 7, davis, "--out", out, *NOWHERE) == (
        "there is no table 7 here: choose 1 (policies), 2 (slots), 3 (testing), "
        "4 (YouTube-VOS), 5 (prediction) or 6 (fusion)"
    )
    assert refused("table", 4, davis, "--out", out, *NOWHERE) == (
        f"{davis}: has no meta.json with objects: table 4 is of YouTube-VOS, give its root"
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
