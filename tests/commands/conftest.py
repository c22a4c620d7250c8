"""Fixtures of the command tests."""

from pathlib import Path

import pytest
import torch

from small_data import write_first_mask, write_video
from stremn import create_model, save_pretrained


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights: what is segmented means nothing, all else does."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return save_pretrained(
        create_model("stremn-lite"), tmp_path_factory.mktemp("model") / "random.safetensors"
    )


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of 96x64 at 30000/1001 a second."""
    return write_video(tmp_path_factory.mktemp("video") / "eight.mp4", 8)


@pytest.fixture(scope="session")
def mask(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects 7 and 200 in the first frame of every small video."""
    return write_first_mask(tmp_path_factory.mktemp("mask") / "first.png", (7, 200))
