"""Rows of prediction follow the registry, the paper's numbers are whole, training runs are read."""

import json
from pathlib import Path

import pytest

from stremn.memory import POLICIES
from stremn.tables.forecast_rows import copy_row, policy_rows, slot_rows
from stremn.tables.paper import MOVING_MNIST, PREDICTION
from stremn.tables.prediction import ForecastTrial
from stremn.tables.trained import Training, read_training

BASE = ForecastTrial("digest", "learned", 5)


def test_every_policy_has_a_row_and_random_ones_have_seeds() -> None:
    rows = policy_rows(BASE, 4)
    assert {row.trials[0].policy for row in rows} == set(POLICIES)
    assert [row.name for row in rows][-2:] == ["(ours) learned", "growing memory"]
    for row in rows:
        draws = POLICIES[row.trials[0].policy or ""].draws
        assert [trial.seed for trial in row.trials] == list(range(4 if draws else 1))
        assert {trial.slots for trial in row.trials} == {5}


def test_slots() -> None:
    assert [row.trials[0].slots for row in slot_rows(BASE, 3)] == [1, 2, 3, 4, 5, 6, 7]
    assert len(slot_rows(ForecastTrial("digest", "random-drop", 5), 3)[0].trials) == 3
    assert copy_row().trials[0].policy is None


def test_what_the_text_says_of_the_papers_table() -> None:
    """Best of all on Human3.6M; on KTH only LPIPS is (Sec. 4.2)."""
    ours, others = PREDICTION["STReMN"], [row for name, row in PREDICTION.items() if name != "STReMN"]
    for name, sign in (("mse", 1), ("mae", 1), ("ssim", -1), ("kth_lpips", 1)):
        known = [getattr(row, name) for row in others if getattr(row, name) is not None]
        assert sign * getattr(ours, name) < min(sign * value for value in known)
    assert max(row.kth_psnr or 0 for row in others) == PREDICTION["Conv-TT-LSTM"].kth_psnr
    assert list(MOVING_MNIST.values()) == sorted(MOVING_MNIST.values(), reverse=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-000050").mkdir(parents=True)
    for name in ("best", "model", "checkpoints/step-000050/model"):
        (folder / f"{name}.safetensors").touch()
    (folder / "run.json").write_text(json.dumps({"device": "cpu", "machine": "m", "commit": "c", "seed": 0}))
    log = [
        {"step": 50, "loss": 1.0, "seconds": 60.0},
        {"step": 50, "score": 0.9},
        {"step": 100, "loss": 0.5, "seconds": 7200.4},
        {"step": 100, "score": 0.8},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log) + '{"step": 1')
    return folder


def test_the_run_beside_the_weights(run: Path) -> None:
    best = read_training(run / "best.safetensors")
    assert best is not None
    assert (best.steps, best.seconds, best.chosen_step, best.device) == (100, 7200.4, 50, "cpu")
    assert str(best) == "100 steps (best at 50), 2.0 h"
    last = read_training(str(run / "model.safetensors"))
    assert str(last) == "100 steps, 2.0 h"
    early = read_training(run / "checkpoints" / "step-000050" / "model.safetensors")
    assert str(early) == "50 steps, 1 min"
    assert early is not None
    assert early.to_dict() == {
        **{"steps": 50, "seconds": 60.0, "device": "cpu", "machine": "m", "commit": "c"}
    }


def test_weights_without_a_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name of a model is not a file of the folder that one is in.
    monkeypatch.chdir(run)
    (tmp_path / "alone.safetensors").touch()
    assert read_training(tmp_path / "alone.safetensors") is None
    assert read_training("stremn-lite") is None
    (run / "log.jsonl").unlink()
    assert read_training(run / "best.safetensors") is None
    assert str(Training("as I said")) == "as I said"
