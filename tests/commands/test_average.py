"""The command that averages weights."""

from pathlib import Path

import pytest
import torch
from command_runs import BAD_INPUT, run
from safetensors.torch import load_file

from stremn import create_model, from_pretrained, save_pretrained


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """A file and a run folder of one small network."""
    paths = []
    for seed, name in enumerate(("a.safetensors", "run/model.safetensors")):
        torch.manual_seed(seed)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        paths.append(save_pretrained(create_model("predrnn-small", hidden=(4, 4)), tmp_path / name))
    return [paths[0], paths[1].parent]


def test_the_mean_in_half_precision(two: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "mean.safetensors"
    done = run("average", *two, "--out", out, "--share", "0.25", "--set", "size=32")
    assert (done.status, done.out) == (0, f"{out}\n"), done.err
    one, other = (from_pretrained(path).state_dict() for path in two)
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, (0.25 * one[name].double() + 0.75 * other[name].double()).float().half())
    assert from_pretrained(out).config.size == 32
    again = run("average", *two, "--out", out)
    assert (again.status, "--overwrite" in again.err) == (BAD_INPUT, True)
    assert run("average", *two, "--out", out, "--overwrite").status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--share", "2"], "share 2.0 of the first: must be from 0 to 1"),
        (["--set", "size"], "--set size: write key=value"),
        (["--set", "size=big"], "size must be a whole number"),
        (["--set", "hidden=[8, 8]"], "its weights do not fit hidden"),
        (["--set", "colour=1"], "its config has no colour"),
        (["stremn-predict-mnist"], "stremn-predict-mnist: of another config than"),
        (["nowhere"], "unknown model 'nowhere'"),
    ],
)
def test_what_is_refused_leaves_nothing(
    options: list[str], message: str, two: list[Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    done = run("average", *two, *options, "--out", tmp_path / "mean.safetensors")
    assert (done.status, message in done.err, done.err.count("\n")) == (BAD_INPUT, True, 1), done.err
    assert sorted(tmp_path.iterdir()) == before


def test_output_that_cannot_be(two: list[Path], tmp_path: Path) -> None:
    for out, message in (
        (tmp_path / "none" / "mean.safetensors", "cannot be written"),
        (tmp_path / "mean.pt", "is not named .safetensors"),
    ):
        done = run("average", *two, "--out", out)
        assert (done.status, message in done.err) == (BAD_INPUT, True), done.err
    assert run("average", two[0], "--out", tmp_path / "mean.safetensors").status == BAD_INPUT
