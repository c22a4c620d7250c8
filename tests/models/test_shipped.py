"""The weights that come with the package."""

import pytest

from stremn.errors import StremnError
from stremn.models import MODELS, PREDICTORS, Predictor, Segmenter, from_pretrained, ships
from stremn.models.checkpoint import SHIPPED
from stremn.sessions import PredictionSession, SegmentationSession

NAMES = ("stremn-lite",)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_opened_by_name(name: str) -> None:
    assert ships(name)
    model = from_pretrained(name)
    assert isinstance(model, Segmenter if name in MODELS else Predictor)
    assert model.config.architecture == (MODELS | PREDICTORS)[name].architecture
    assert all(t.isfinite().all() for t in model.state_dict().values() if t.is_floating_point())


def test_nothing_else_ships() -> None:
    assert {path.stem for path in SHIPPED.glob("*.safetensors")} == set(NAMES)
    assert not ships("stremn-r50")
    assert not ships("../weights/stremn-lite")


def test_sessions_open_them_by_default() -> None:
    assert SegmentationSession(device="cpu").model.config.architecture == "lite"


def test_prediction_without_weights_says_what_to_give() -> None:
    with pytest.raises(StremnError, match=r"stremn-predict-video.*give"):
        PredictionSession(device="cpu")
