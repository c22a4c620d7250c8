"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

# A worker for each core: a second thread of torch would only wait for the first. Processes inherit it.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, outside the repository; its absence is an error in CI, a skip elsewhere."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("STREMN_DATA", default))
    if (root / "DAVIS2016").is_dir():
        return root
    message = f"real data not found at {root}: set STREMN_DATA to the folder that holds DAVIS2016"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
