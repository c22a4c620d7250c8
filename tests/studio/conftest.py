"""A small video in the studio, in a model that was trained, at a size at which it takes milliseconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from small_data import write_video
from stremn.models import Segmenter, from_pretrained
from stremn.sessions import SegmentationSession
from stremn.studio import Project

COUNT = 12


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of 96x64 in which two squares move."""
    return write_video(tmp_path_factory.mktemp("video") / "squares.mp4", COUNT)


@pytest.fixture(scope="session")
def model() -> Segmenter:
    return from_pretrained("stremn-lite")


@pytest.fixture
def open_session(model: Segmenter) -> Callable[[], SegmentationSession]:
    return lambda: SegmentationSession(model, size=64, device="cpu", precision="fp32", candidate_every=1)


@pytest.fixture
def project(video: Path, tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.read(video)
    return made
