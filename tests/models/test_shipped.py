"""The weights that come with the package."""

import numpy as np
import pytest

from stremn import StremnError
from stremn.models import MODELS, PREDICTORS, Predictor, Segmenter, from_pretrained
from stremn.models.checkpoint import SHIPPED
from stremn.sessions import PredictionSession, SegmentationSession

NAMES = ("stremn-lite", "stremn-motion", "stremn-predict-mnist")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_opened_by_name(name: str) -> None:
    model = from_pretrained(name)
    assert isinstance(model, Segmenter if name in MODELS else Predictor)
    assert model.config.architecture == (MODELS | PREDICTORS)[name].architecture
    assert all(t.isfinite().all() for t in model.state_dict().values() if t.is_floating_point())


def test_nothing_else_ships() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == {*NAMES, "stremn-prompt"}
    for name in ("stremn-r50", "../weights/stremn-lite"):
        with pytest.raises(StremnError):
            from_pretrained(name)


def test_prediction_ships_in_eight_megabytes() -> None:
    assert sum((SHIPPED / f"{name}.safetensors").stat().st_size for name in NAMES[1:]) <= 8e6


def test_sessions_open_them_by_default() -> None:
    assert SegmentationSession(device="cpu").model.config.architecture == "lite"
    assert PredictionSession(device="cpu").model.config.channels == 3


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_square_that_moves_is_foreseen_better_than_as_the_last_frame(name: str) -> None:
    def frame(index: int) -> np.ndarray:
        image = np.zeros((64, 64), np.uint8)
        image[20:36, 4 + 3 * index : 20 + 3 * index] = 255
        return image

    session = PredictionSession(name, device="cpu")
    for index in range(8):
        session.observe(frame(index))
    for ahead, found in enumerate(session.predict(2), 1):
        truth = frame(7 + ahead).astype(float)
        assert np.square(found - truth).mean() < np.square(frame(7) - truth).mean()
