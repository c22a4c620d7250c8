"""Every command of docs/research/reproduce.md, in its order, on generated data of the same layouts.

Reduced for the test: narrow networks, one step of one small clip, frames of 64 lines.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from counted_videos import write_numbered
from layouts import LAYOUTS, hide_truth, write_test_dev, write_youtube
from small_data import write_davis
from stremn.commands import main

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "research" / "reproduce.md"
SCRIPT = ROOT / "examples" / "cluster" / "train.sbatch"

NARROW = {"key_dim": 8, "value_dim": 16, "update_dim": 8}
SMALL = {"steps": 1, "batch": 1, "workers": 0, "validate_every": 0, "precision": "'no'", "save_every": 100}


def lines_of_the_page() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with data sets of every layout that the page names, and weights for ImageNet's."""
    place = tmp_path_factory.mktemp("reproduce")
    data = place / "data"
    for name in ("COCO", "ECSSD", "SBD", "MSRA10K", "HKU-IS"):
        LAYOUTS[name](data / name)
    held_out = yaml.safe_load((ROOT / "src/stremn/recipes/paper/stage1.yaml").read_text())["held_out"]
    write_davis(data / "DAVIS2017", dict.fromkeys([*held_out, "bear", "camel"], 5))
    for split, names in (("train", [*held_out, "bear"]), ("val", ["camel"])):
        listed = data / "DAVIS2017" / "ImageSets" / "2017" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(names))
    write_test_dev(data / "DAVIS2017-test-dev")
    write_youtube(data / "YouTubeVOS")
    write_youtube(data / "YouTubeVOS", "valid")
    hide_truth(data / "YouTubeVOS" / "valid")
    first = data / "KTH" / "boxing" / "person01_boxing_d1_uncomp.avi"
    write_numbered(first, 40, codec="mpeg4", size=(120, 160))
    for person in range(2, 26):
        first.with_name(f"person{person:02d}_boxing_d4_uncomp.avi").write_bytes(first.read_bytes())
    walking = write_numbered(data / "Human36M" / "S1" / "Videos" / "Walking.54138969.mp4", 60, size=(80, 80))
    for subject in (5, 6, 7, 8, 9, 11):
        copy = data / "Human36M" / f"S{subject}" / "Videos" / walking.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(walking.read_bytes())
    torch.manual_seed(0)
    save_file(timm.create_model("resnet50_gn", pretrained=False).state_dict(), place / "resnet50.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("STREMN_DATA", str(data))
        patch.setenv("RECIPES", str(ROOT / "src" / "stremn" / "recipes"))
        yield place


def reduced(words: list[str]) -> list[str]:
    """The words of a ``stremn`` command with what makes it small."""
    command = words[0]
    if command == "train":
        return [*words, *(word for pair in smaller(words) for word in ("--set", pair))]
    if command in ("table", "evaluate"):
        predicts = any(word.startswith(("kth:", "human36m:")) for word in words)
        few = ["--clips", "1", "--size", "32", "--horizon", "2"]
        return [*words, *(few if predicts else ["--size", "64"]), *(["--seeds", "1"] * (command == "table"))]
    return words


def smaller(words: list[str]) -> list[str]:
    """Keys of a recipe for one small step; a config that the command gives is made narrow."""
    recipe = Path(words[1]).stem
    changes: dict[str, object] = {**SMALL}
    if recipe.startswith("stage"):
        changes |= {"frames": 3, "size": 64, "objects": 1}
    else:
        changes |= {"frames": 4, "observed": 2, "size": 32, "validate_every": 1, "validate_clips": 1}
        config = {"widths": [8] * 6} | NARROW
        changes["config"] = yaml.safe_dump(config, default_flow_style=True).strip()
    if recipe == "stage1":
        given = next((w.removeprefix("config=") for w in words if w.startswith("config=")), "{}")
        config = yaml.safe_load(given) | NARROW
        changes |= {"config": yaml.safe_dump(config, default_flow_style=True).strip()}
        changes["backbone_weights"] = "resnet50.safetensors"
    return [f"{key}={value}" for key, value in changes.items()]


@pytest.mark.slow
def test_every_command_of_the_page(place: Path) -> None:
    seen = set()
    for line in lines_of_the_page():
        words = shlex.split(os.path.expandvars(line))
        if words[0] == "stremn":
            assert main(reduced(words[1:])) == 0, line
            seen.add(words[1])
        else:
            assert words[0] in ("export", "accelerate", "sbatch"), line
    assert seen == {"data", "train", "table", "evaluate", "figures"}
    for number in ("1", "2", "3-test-dev", "4", "6"):
        assert list((place / "tables" / number).glob("*.zip")), number
    for name in ("val", "human36m-test"):
        assert {path.name for path in (place / "runs" / name / "figures").iterdir()} >= {
            "ages.png",
            "best.png",
        }


def stand_in(folder: Path, name: str, script: str) -> None:
    """A command of the name that runs these lines of a shell."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
def test_both_ways_to_several_processes(place: Path, tmp_path: Path) -> None:
    """On the CPU, with stand-ins for the commands of Slurm; all else is what the page says."""
    launcher = f'exec "{sys.executable}" -m accelerate.commands.launch'
    stand_in(tmp_path / "bin", "scontrol", "echo localhost")
    stand_in(tmp_path / "bin", "srun", 'exec "$@"')
    stand_in(tmp_path / "bin", "sbatch", 'exec bash "$@"')
    stand_in(tmp_path / "bin", "accelerate", f'shift; {launcher} "$@"')
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        **{"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_JOB_ID": "7"},
        **{"SLURM_GPUS_ON_NODE": "2", "MASTER_PORT": str(free_port())},
    }
    lines = [line for line in lines_of_the_page() if line.startswith(("accelerate", "sbatch"))]
    assert len(lines) == 2
    for number, line in enumerate(lines):
        words = shlex.split(os.path.expandvars(line.replace("examples/", f"{ROOT}/examples/")))
        if words[0] == "accelerate":
            fewer = ["--num_processes", "2", "--main_process_port", str(free_port())]
            words[2:2] = fewer
        recipe = next(i for i, word in enumerate(words) if word.endswith(".yaml") and "recipes" in word)
        # From the ImageNet weights, so that the order of the tests does not matter.
        words[recipe] = words[recipe].replace("stage2", "stage1")
        words = [word.replace("start=runs/stage1", "seed=0") for word in words]
        words[words.index("--out") + 1] = f"runs/several-{number}"
        small = smaller([words[0], words[recipe]])
        words += [word for pair in small for word in ("--set", pair)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        assert (place / "runs" / f"several-{number}" / "model.safetensors").is_file()


def test_the_job_comes_again_after_its_time(tmp_path: Path) -> None:
    """Told by Slurm that its time is over, the script tells the step, waits for it, and asks to be queued."""
    said = tmp_path / "said"
    stand_in(
        tmp_path / "bin",
        "srun",
        f'echo $$ > {said}.step; trap "echo saved >> {said}; exit 1" TERM\nwhile :; do sleep 0.05; done',
    )
    stand_in(tmp_path / "bin", "scancel", f'echo "scancel $*" >> {said}; kill -TERM "$(cat {said}.step)"')
    stand_in(
        tmp_path / "bin", "scontrol", f'[ "$1" = show ] && echo localhost || echo "scontrol $*" >> {said}'
    )
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        **{"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_JOB_ID": "7"},
    }
    with subprocess.Popen(["bash", SCRIPT, "recipe.yaml", "--out", "run"], env=environment) as job:
        deadline = time.monotonic() + 60
        while not said.with_suffix(".step").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        job.send_signal(signal.SIGTERM)
        job.wait(timeout=60)
    assert said.read_text().splitlines() == ["scancel --signal=TERM 7.0", "saved", "scontrol requeue 7"]
