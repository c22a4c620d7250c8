"""The training run beside some weights is read."""

import json
from pathlib import Path

import pytest

from stremn.provenance import provenance
from stremn.tables.trained import Training, read_training

RECORD = provenance()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-000050").mkdir(parents=True)
    for name in ("best", "model", "checkpoints/step-000050/model"):
        (folder / f"{name}.safetensors").touch()
    (folder / "run.json").write_text(json.dumps({"device": "cpu", "seed": 0} | RECORD))
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
        **{"steps": 50, "seconds": 60.0, "device": "cpu"},
        **{name: value for name, value in RECORD.items() if name != "command" and value is not None},
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
