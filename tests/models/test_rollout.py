"""Clips run in training as videos run in a session."""

from typing import Any

import numpy as np
import pytest
import torch

from small_models import fill_added
from stremn.models import PREDICTORS, Predictor, create_model
from stremn.models.predictor import forecast_clip
from stremn.sessions import PredictionSession

NARROW = {"widths": (8, 8, 16, 16, 16, 16), "key_dim": 8, "value_dim": 8, "update_dim": 8}


@pytest.fixture(scope="module", params=PREDICTORS)
def model(request: pytest.FixtureRequest) -> Predictor:
    torch.manual_seed(0)
    changes = NARROW if request.param.startswith("stremn") else {"hidden": (8, 8)}
    own: dict[str, dict[str, Any]] = {
        "stremn-motion": {"width": 4, "key_dim": 8, "update_dim": 8},
        "simvp-small": {"frames": 3, "spatial": 4, "temporal": 8, "blocks": 1},
    }
    return fill_added(create_model(request.param, **own.get(request.param, changes))).eval()


def clip(model: Predictor, length: int, batch: int = 2) -> torch.Tensor:
    """Frames of whole bytes, as those of a session are."""
    generator = torch.Generator().manual_seed(1)
    shape = (batch, length, model.config.channels, 16, 24)
    return torch.randint(0, 256, shape, generator=generator).float() / 255


@torch.no_grad()
def test_a_clip_is_foreseen_as_by_a_session(model: Predictor) -> None:
    frames = clip(model, 9)
    found = forecast_clip(model, frames, 6)
    assert found.shape == (2, 3, *frames.shape[2:])
    for video, expected in zip(frames, found, strict=True):
        session = PredictionSession(model, device="cpu", precision="fp32", size=0)
        for frame in video[:6]:
            session.observe(frame)
        shown = torch.from_numpy(session.predict(3)).float() / 255
        shown = shown[:, None] if shown.dim() == 3 else shown.permute(0, 3, 1, 2)
        assert (shown - expected).abs().max() <= 0.51 / 255


def test_truth_is_no_part_of_a_prediction(model: Predictor) -> None:
    frames = clip(model, 6)
    with torch.no_grad():
        expected = forecast_clip(model, frames, 3)
        frames[:, 3:] = 0
        assert torch.equal(forecast_clip(model, frames, 3), expected)


def test_clips_without_past_or_future_are_refused(model: Predictor) -> None:
    for observed in (0, 4, 5):
        with pytest.raises(ValueError, match="cannot be observed"):
            forecast_clip(model, clip(model, 4), observed)
    assert np.isfinite(forecast_clip(model, clip(model, 4), 1).detach().numpy()).all()
