"""Small prediction models and sessions of them, for the tests of these."""

from typing import Any

import torch

from small_models import fill_added
from stremn.models import Predictor, create_model
from stremn.sessions import PredictionSession

NARROW = {"widths": (8, 8, 16, 16, 16, 16), "key_dim": 8, "value_dim": 8, "update_dim": 8}
SMALL: dict[str, dict[str, Any]] = {
    "stremn-predict": NARROW,
    "stremn-predict-mnist": NARROW,
    "stremn-motion": {"width": 4, "key_dim": 8, "update_dim": 8},
    "convlstm": {"hidden": (8, 8)},
    "convlstm-small": {"hidden": (8, 8), "channels": 3},
    "predrnn": {"hidden": (8, 8)},
    "predrnn-small": {"hidden": (8, 8), "channels": 3},
    "simvp-small": {"frames": 3, "spatial": 4, "temporal": 8, "blocks": 1},
}


def make(name: str) -> Predictor:
    torch.manual_seed(0)
    return fill_added(create_model(name, **SMALL[name])).eval()


def open_session(model: Predictor, **settings: Any) -> PredictionSession:
    return PredictionSession(model, **({"device": "cpu", "precision": "fp32", "size": 0} | settings))


def after(model: Predictor, frames: list[Any], **settings: Any) -> PredictionSession:
    session = open_session(model, **settings)
    for frame in frames:
        session.observe(frame)
    return session
