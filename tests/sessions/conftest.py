"""A small video and an untrained model, for all tests of sessions."""

from collections.abc import Callable

import numpy as np
import pytest
from prediction_sessions import make

from small_models import untrained_lite
from stremn.models import PREDICTORS, Predictor, Segmenter
from stremn.sessions import SegmentationSession

SIZE = (64, 96)


@pytest.fixture(scope="session")
def model() -> Segmenter:
    return untrained_lite(seed=0)


@pytest.fixture(scope="session")
def video() -> list[np.ndarray]:
    """Thirty frames of coloured noise that drifts."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (SIZE[0], SIZE[1] + 60, 3), dtype=np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * t : 2 * t + SIZE[1]]) for t in range(30)]


@pytest.fixture(scope="session")
def boxes() -> Callable[..., np.ndarray]:
    """A label map with a box for each id, at a place that depends on the id's position in the call."""

    def draw(*ids: int, start: int = 0) -> np.ndarray:
        labels = np.zeros(SIZE, np.uint8)
        for place, object_id in enumerate(ids, start):
            labels[5 + 10 * place : 15 + 10 * place, 20:60] = object_id
        return labels

    return draw


@pytest.fixture
def open_session(model: Segmenter) -> Callable[..., SegmentationSession]:
    """Opens a session at the frame's own size, in float32 on the CPU, where every frame is a candidate."""

    def make(**settings: object) -> SegmentationSession:
        defaults: dict[str, object] = {
            "size": 0,
            "device": "cpu",
            "precision": "fp32",
            "candidate_every": 1,
        }
        return SegmentationSession(model, **(defaults | settings))

    return make


@pytest.fixture(scope="session", params=PREDICTORS)
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return make(request.param)


@pytest.fixture(scope="session")
def colour() -> list[np.ndarray]:
    """Twelve frames, no side of which any stride divides."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (37, 51 + 24, 3), dtype=np.uint8)
    return [np.ascontiguousarray(wide[:, 2 * t : 2 * t + 51]) for t in range(12)]


@pytest.fixture(scope="session")
def grey(colour: list[np.ndarray]) -> list[np.ndarray]:
    return [frame[:, :, 0].copy() for frame in colour]
