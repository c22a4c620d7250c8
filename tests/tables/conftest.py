"""A small data set and an untrained model."""

from pathlib import Path

import pytest
import torch

from small_data import write_davis
from stremn.models import Segmenter, create_model


@pytest.fixture(scope="session")
def model() -> Segmenter:
    torch.manual_seed(0)
    return create_model("stremn-lite").eval()


@pytest.fixture(scope="session")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences; object 2 joins ``late`` at frame 2."""
    return write_davis(tmp_path_factory.mktemp("davis"), {"early": 4, "late": 5}, joins={"late": 2})
