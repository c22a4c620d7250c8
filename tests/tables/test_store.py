"""Results survive interruption, and lines that are not ours are passed over."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stremn.errors import StremnError
from stremn.metrics import ObjectScore, ScoreTable
from stremn.metrics.prediction.scores import PredictionScores
from stremn.tables import Result, ResultStore
from stremn.tables.store import key_of

MASKS = ScoreTable((ObjectScore.from_frames("caf\udce9", 3, [0.5, 1.0, 0.25], [1.0, 1.0, 0.0]),))
FRAMES = PredictionScores(3, {"mse": (1.5, 2.0), "psnr": (100.0, 1 / 3)})


def result(score: object = MASKS) -> Result:
    return Result("caf\udce9\u2028", {"policy": "oldest"}, 5, score, (0, 2, 1), {"held": {"3": [0, 4, -1]}})


@pytest.mark.parametrize("score", [MASKS, FRAMES])
def test_what_was_added_is_found_again(score: object, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    store = ResultStore(path, type(score))
    assert store.find("a") is None
    for key in "ab":
        store.add(key, result(score))
    again = ResultStore(path, type(score))
    assert again.find("a") == again.find("b") == result(score)
    assert again.find("c") is None


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_line_that_was_cut_off_costs_only_itself(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "results.jsonl"
    store = ResultStore(path, ScoreTable)
    for key in "ab":
        store.add(key, result())
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING, "stremn"):
        after = ResultStore(path, ScoreTable)
    assert after.find("a") == result()
    whole = cut == 1
    assert after.find("b") == (result() if whole else None)
    assert len(caplog.records) == 1
    after.add("c", result())
    keys = [line[:12] for line in path.read_text().splitlines()]
    assert keys == [f'{{"key": "{key}",' for key in ("abc" if whole else "ac")]
    assert ResultStore(path, ScoreTable).find("c") == result()


@pytest.mark.parametrize(
    "line", [b"[]", b'"text"', b"7", b'{"key": 1}', b"\xff\xfe", b"null", b"", b"[" * 100_000, b"1" * 10_000]
)
def test_other_content_is_passed_over(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultStore(path, ScoreTable).add("a", result())
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert ResultStore(path, ScoreTable).find("a") == result()
    assert ResultStore(path, PredictionScores).find("a") is None


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_line_that_was_changed_is_passed_over(
    tmp_path_factory: pytest.TempPathFactory, place: int, new: bytes
) -> None:
    path = tmp_path_factory.mktemp("store") / "results.jsonl"
    ResultStore(path, ScoreTable).add("a", result())
    line = path.read_bytes()
    path.write_bytes(line[:place] + new + line[place + len(new) :])
    assert ResultStore(path, ScoreTable).find("a") in (None, result())


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="cannot be read"):
        ResultStore(tmp_path, ScoreTable)
    with pytest.raises(StremnError, match="cannot write"):
        ResultStore(tmp_path / "none" / "results.jsonl", ScoreTable).add("a", result())


def test_keys_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})
