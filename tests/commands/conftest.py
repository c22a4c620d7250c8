"""Fixtures of the command tests."""

from pathlib import Path

import pytest
import torch
from command_runs import Task

from small_data import write_first_mask, write_video
from stremn import create_model, save_pretrained

NARROW = {
    "stremn-motion": {"width": 4, "key_dim": 4, "update_dim": 4, "size": 0},
    "stremn-predict-mnist": {
        "widths": (4, 4, 8, 8, 8, 8),
        "key_dim": 4,
        "value_dim": 8,
        "update_dim": 4,
        "size": 0,
    },
}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights: what is segmented means nothing, all else does."""
    torch.manual_seed(0)
    return save_pretrained(
        create_model("stremn-lite"), tmp_path_factory.mktemp("model") / "random.safetensors"
    )


def _predictor(path: Path, name: str) -> Path:
    torch.manual_seed(0)
    return save_pretrained(create_model(name, **NARROW[name]), path)


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for prediction in colour: a narrow model."""
    return _predictor(tmp_path_factory.mktemp("model") / "colour.safetensors", "stremn-motion")


@pytest.fixture(scope="session")
def grey_predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """And for grey frames."""
    return _predictor(tmp_path_factory.mktemp("model") / "grey.safetensors", "stremn-predict-mnist")


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of 96x64 at 30000/1001 a second."""
    return write_video(tmp_path_factory.mktemp("video") / "eight.mp4", 8)


@pytest.fixture(scope="session")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects 7 and 200 in the first frame of every small video."""
    return write_first_mask(tmp_path_factory.mktemp("mask") / "first.png", (7, 200))


@pytest.fixture(params=["segment", "predict"])
def task(request: pytest.FixtureRequest, mask: Path, weights: Path, predictor: Path) -> Task:
    """Each command that reads a source and writes a folder."""
    if request.param == "segment":
        return Task("segment", ("--masks", mask, "--size", 48), weights, "masks")
    return Task("predict", ("--observe", 2, "--horizon", 38), predictor, "frames")
