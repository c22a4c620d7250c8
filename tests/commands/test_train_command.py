"""The command that trains: what it prints, and how it ends."""

import logging
import signal
import time
from pathlib import Path

import pytest
from command_runs import BAD_INPUT, INTERRUPTED, run, start

from small_data import write_davis, write_stills
from stremn import from_pretrained
from stremn.commands.console import Stop


@pytest.fixture
def recipe(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_stills(tmp_path / "stills")
    monkeypatch.setenv("STREMN_TEST_ROOT", str(tmp_path))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"start: {weights}\nstills: ['${{STREMN_TEST_ROOT}}/stills']\nvideo_share: 0\nframes: 2\nsize: 32\n"
        "batch: 1\nworkers: 0\nprecision: 'no'\nsteps: 1\n"
    )
    return path


def test_train(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("train", recipe, "--out", out, "--set", "seed=3")
    assert (done.status, done.out) == (0, f"{out / 'model.safetensors'}\n")
    assert "step 1/1  loss " in done.err
    assert " images/s  0 s left" in done.err
    again = run("train", recipe, "--out", out)
    assert again.status == BAD_INPUT
    assert again.err == f"stremn: {out} holds a run: resume it, or give another folder\n"
    changed = run("train", recipe, "--out", out, "--resume")
    assert changed.status == BAD_INPUT
    assert "was begun with seed: 3, not 0" in changed.err
    assert run("train", out / "recipe.yaml", "--out", out, "--resume").status == 0
    wrong = run("train", recipe, "--out", tmp_path / "b", "--set", "steps=0")
    assert (wrong.status, wrong.err) == (BAD_INPUT, "stremn: recipe: 'steps' must be at least 1, not 0\n")
    assert logging.getLogger("stremn").handlers == []


def test_every_weights_file_is_named(weights: Path, recipe: Path, tmp_path: Path) -> None:
    out, davis = tmp_path / "out", write_davis(tmp_path / "davis", {"one": 4, "apart": 4})
    changes = (
        f"videos=[{davis}]",
        "held_out=[apart]",
        "validate_every=1",
        "average_best=2",
        "steps=2",
        "validate_size=64",
    )
    done = run("train", recipe, "--out", out, *(word for c in changes for word in ("--set", c)))
    assert done.status == 0, done.err
    names = ("model.safetensors", "best.safetensors", "average.safetensors")
    assert done.out.splitlines() == [str(out / name) for name in names]
    assert all(from_pretrained(out / name).config == from_pretrained(weights).config for name in names)
    assert "mean of the best weights: score " in done.err


def test_interrupted_and_resumed(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    arguments = ("train", recipe, "--out", out, "--set", "steps=4000", "--set", "workers=1")
    with start(*arguments) as process:
        deadline = time.monotonic() + 300
        while not (out / "recipe.yaml").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == INTERRUPTED, err
    assert "continue with --resume" in err
    assert "Traceback" not in err
    (checkpoint,) = (out / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert 0 < step < 4000
    monkeypatch.setattr(Stop, "__bool__", lambda stop: True)
    done = run(*arguments, "--resume")
    assert done.status == INTERRUPTED
    assert f"resumed at step {step} of 4000" in done.err
