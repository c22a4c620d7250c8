"""Two real processes, started by the command that the docs give."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from stremn.training import SegmentationRecipe, train


def launch(recipe: SegmentationRecipe, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``accelerate launch`` with two processes on the CPU, which talk by gloo."""
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    command += ["--num_cpu_threads_per_process", "1", "-m", "stremn", "train", str(path), "--out", str(out)]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=900)


def moments(out: Path) -> dict[str, torch.Tensor]:
    """Adam's first moments; after one step a tenth of the gradients."""
    (checkpoint,) = (out / "checkpoints").iterdir()
    tensors = load_file(checkpoint / "optimizer.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.endswith(".exp_avg")}


@pytest.mark.slow
def test_two_processes_equal_one_on_the_joint_batch(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    # As many slots as frames: no contest, whose noise each process draws for itself.
    recipe = replace(recipe, steps=1, chosen=2, clip_norm=0.0, validate_every=1)
    # What is computed again must not be awaited twice.
    split = replace(recipe, batch=(1,), accumulate=2, activation_checkpointing=True)
    two = launch(split, tmp_path / "two")
    assert two.returncode == 0, two.stderr
    # One of them speaks, one of them writes.
    assert two.stdout.count("model.safetensors") == 1
    assert two.stderr.count("step 1/1  loss ") == 1
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    assert len((tmp_path / "two" / "log.jsonl").read_text().splitlines()) == 2
    train(replace(recipe, batch=(4,)), tmp_path / "one")
    joint, split = moments(tmp_path / "one"), moments(tmp_path / "two")
    assert joint.keys() == split.keys()
    for name, moment in joint.items():
        scale = float(moment.abs().max())
        assert torch.allclose(split[name], moment, rtol=1e-3, atol=1e-4 * scale + 1e-9), name
    one, other = (
        json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0])["loss"]
        for name in ("one", "two")
    )
    assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.slow
def test_an_error_in_one_process_ends_all(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    """Both run into the damaged file at their own time; none is left waiting for the other."""
    stills = tmp_path / "stills"
    for kind in ("images", "masks"):
        (stills / kind).mkdir(parents=True)
        for path in (Path(recipe.stills[0]) / kind).iterdir():
            (stills / kind / path.name).write_bytes(path.read_bytes())
    (stills / "images" / "still1.jpg").write_bytes(b"no picture")
    broken = replace(
        recipe, stills=(str(stills),), video_share=0.0, videos=(), held_out=(), batch=(1,), steps=200
    )
    done = launch(broken, tmp_path / "out")
    assert done.returncode != 0
    assert "still1.jpg" in done.stderr
