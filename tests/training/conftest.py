"""Fixtures of the training tests."""

from pathlib import Path

import pytest
import torch

from small_data import write_davis, write_digits, write_stills
from stremn import create_model, save_pretrained
from stremn.training import SegmentationRecipe


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> SegmentationRecipe:
    """Three steps of two tiny clips from random weights."""
    root = tmp_path_factory.mktemp("training")
    torch.manual_seed(0)
    start = save_pretrained(create_model("stremn-lite"), root / "start.safetensors")
    return SegmentationRecipe(
        start=str(start),
        stills=(str(write_stills(root / "stills")),),
        videos=(str(write_davis(root / "davis", {"one": 6, "two": 6, "apart": 4})),),
        held_out=("apart",),
        frames=(4,),
        size=(32,),
        objects=2,
        chosen=1,
        candidate_every=1,
        batch=(2,),
        steps=3,
        warmup=1,
        learning_rate=1e-3,
        backbone_rate=1e-3,
        frozen_blocks=3,
        workers=0,
        precision="no",
        validate_size=64,
    )


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty bars in MNIST's format."""
    return write_digits(tmp_path_factory.mktemp("digits") / "images-idx3-ubyte")
