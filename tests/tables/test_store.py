"""Results survive interruption, and are found only for what they were made with."""

import logging
from pathlib import Path

import pytest
import torch

from stremn.errors import StremnError
from stremn.metrics import ObjectScore
from stremn.models import Segmenter, create_model
from stremn.tables import Result, ResultStore
from stremn.tables.store import key_of, weights_digest


def result(key: str) -> Result:
    score = ObjectScore.from_frames("s", 3, [0.5, 1.0, 0.25], [1.0, 1.0, 0.0])
    return Result(key, "s", {"policy": "oldest"}, 5, (score,), (0, 2, 1), {"3": [0, 4, -1]})


def test_what_was_added_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    store = ResultStore(path, Result)
    assert store.find("a") is None
    store.add(result("a"))
    store.add(result("b"))
    again = ResultStore(path, Result)
    assert again.find("a") == result("a")
    assert again.find("b") == result("b")
    assert again.find("c") is None


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_line_that_was_cut_off_costs_only_itself(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "results.jsonl"
    store = ResultStore(path, Result)
    for key in "ab":
        store.add(result(key))
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING, "stremn"):
        after = ResultStore(path, Result)
    assert after.find("a") == result("a")
    whole = cut == 1
    assert after.find("b") == (result("b") if whole else None)
    assert len(caplog.records) == 1
    after.add(result("c"))
    assert [line[:12] for line in path.read_text().splitlines()] == [
        f'{{"key": "{key}",' for key in ("abc" if whole else "ac")
    ]
    last = ResultStore(path, Result)
    assert last.find("c") == result("c")


def test_other_content_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'[]\n{"key": 1}\n\xff\xfe\nnull\n')
    assert ResultStore(path, Result).find("a") is None


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="cannot be read"):
        ResultStore(tmp_path, Result)
    with pytest.raises(StremnError, match="cannot write"):
        ResultStore(tmp_path / "none" / "results.jsonl", Result).add(result("a"))


def test_keys_do_not_depend_on_order() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": 2})


def test_the_digest_sees_weights_and_config(model: Segmenter) -> None:
    digest = weights_digest(model)
    assert digest == weights_digest(model)
    with torch.device("meta"):
        other = create_model("stremn-lite", slots=5)
    other = other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict())
    assert weights_digest(other) != digest
    other = create_model("stremn-lite")
    other.load_state_dict(model.state_dict())
    assert weights_digest(other) == digest
    with torch.no_grad():
        next(other.parameters()).view(-1)[0] += 1e-3
    assert weights_digest(other) != digest


def test_missing_is_what_has_no_result(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results.jsonl", Result)
    store.add(result("a"))
    assert store.missing({1: "b", 2: "a", 3: "c"}) == [1, 3]
    assert ResultStore(tmp_path / "results.jsonl", Result).missing({2: "a"}) == []
