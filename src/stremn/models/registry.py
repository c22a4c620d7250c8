"""One factory for all models of both tasks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from stremn.errors import StremnError
from stremn.models.config import (
    ModelConfig,
    MotionConfig,
    PredictorConfig,
    RecurrentConfig,
    SegmenterConfig,
    SimVPConfig,
    json_object,
)
from stremn.models.lite import LiteSegmenter
from stremn.models.motion import MotionPredictor
from stremn.models.r50 import PaperSegmenter
from stremn.models.recurrent import ConvLSTM, PredRNN
from stremn.models.simvp import SimVP
from stremn.models.slot_predictor import MemoryPredictor

__all__ = [
    "MODELS",
    "PREDICTORS",
    "build_model",
    "config_from_json",
    "create_model",
    "model_names",
    "reconfigured",
]

Model = TypeVar("Model", bound=nn.Module)

ARCHITECTURES: dict[str, tuple[type[ModelConfig], type[nn.Module]]] = {
    "lite": (SegmenterConfig, LiteSegmenter),
    "stm": (SegmenterConfig, PaperSegmenter),
    "predict": (PredictorConfig, MemoryPredictor),
    "motion": (MotionConfig, MotionPredictor),
    "convlstm": (RecurrentConfig, ConvLSTM),
    "predrnn": (RecurrentConfig, PredRNN),
    "simvp": (SimVPConfig, SimVP),
}
"""For each architecture the class of its config and of its network."""

MODELS: dict[str, SegmenterConfig] = {
    "stremn-lite": SegmenterConfig(
        architecture="lite",
        key_dim=64,
        value_dim=128,
        update_dim=64,
        similarity="l2",
        skip=True,
        shared_update_key=True,
        candidate_every=5,
        # The shipped weights have a certainty of 0.8 as well; an untrained model is never so sure.
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
    "stremn-r50": SegmenterConfig(architecture="stm"),
}
"""Segmentation models by name; every test walks through them."""

PREDICTORS: dict[str, PredictorConfig | MotionConfig | RecurrentConfig | SimVPConfig] = {
    "stremn-predict": PredictorConfig(architecture="predict"),
    "stremn-predict-mnist": PredictorConfig(
        architecture="predict",
        channels=1,
        widths=(32, 32, 64, 64, 64, 64),
        strides=(2, 1, 2, 1, 1, 1),
        key_dim=32,
        value_dim=64,
        update_dim=32,
        similarity="l2",
        skip=True,
        motion=3,
        still=False,
        shared_update_key=True,
        size=0,
    ),
    "stremn-motion": MotionConfig(architecture="motion"),
    "convlstm": RecurrentConfig(architecture="convlstm", hidden=(128, 64, 64), kernel=5),
    "convlstm-small": RecurrentConfig(architecture="convlstm", hidden=(64, 64, 64), kernel=3),
    "predrnn": RecurrentConfig(architecture="predrnn", hidden=(128,) * 4, kernel=5),
    "predrnn-small": RecurrentConfig(architecture="predrnn", hidden=(48,) * 3, kernel=3),
    "simvp-small": SimVPConfig(architecture="simvp"),
}
"""Prediction models by name: the paper's network and ours for small computers, then what they are compared
with, at the published size and at ours."""


def model_names() -> list[str]:
    """Names of all models of both tasks."""
    return [*MODELS, *PREDICTORS]


def config_named(name: str) -> ModelConfig:
    """The config of a registered model.

    Raises:
        StremnError: if the name is unknown.
    """
    config: ModelConfig | None = MODELS.get(name) or PREDICTORS.get(name)
    if config is None:
        raise StremnError(f"unknown model '{name}': choose one of {', '.join(model_names())}")
    return config


def build_model(config: ModelConfig) -> Any:
    """A model with random weights from its config: a ``Segmenter`` or a ``Predictor``.

    Raises:
        StremnError: if the architecture is unknown, or its config is of another class.
    """
    kind, network = _architecture(config.architecture)
    if not isinstance(config, kind):
        raise StremnError(
            f"architecture '{config.architecture}' needs a {kind.__name__}, not a {type(config).__name__}"
        )
    # Weights are stored and trained in float32, whatever PyTorch's default is.
    return network(config).to(torch.float32)


def create_model(name: str, **changes: Any) -> Any:
    """A registered model with random weights; keyword arguments replace fields of its config.

    Args:
        name: a key of :data:`MODELS` or :data:`PREDICTORS`.
        **changes: fields of the config.

    Returns:
        A :class:`~stremn.models.Segmenter` or a :class:`~stremn.models.Predictor`.

    Raises:
        StremnError: if the name or a field is unknown.

    Examples:
        >>> model = create_model("stremn-lite", key_dim=32)
        >>> model.config.key_dim
        32
    """
    config = config_named(name)
    try:
        return build_model(config.changed(changes))
    except StremnError as error:
        raise StremnError(f"model '{name}': {error}") from error


def reconfigured(model: Model, changes: Mapping[str, Any], source: Path | str) -> Model:
    """A model of the same weights whose config differs in some fields.

    Args:
        model: which is not changed.
        changes: values by the names of fields; with none it is the model itself that is returned.
        source: where the model is from, for errors.

    Raises:
        StremnError: if a field is unknown, a value cannot be, or the weights do not fit.
    """
    if not changes:
        return model
    own: Any = model.config
    try:
        changed: Model = build_model(own.changed(changes))
    except StremnError as error:
        raise StremnError(f"{source}: {error}") from error
    try:
        changed.load_state_dict(model.state_dict())
    except RuntimeError as error:
        raise StremnError(f"{source}: its weights do not fit {', '.join(sorted(changes))}") from error
    return changed.train(model.training)


def config_from_json(text: str) -> ModelConfig:
    """The config that ``to_json`` wrote, of the class that its architecture names.

    Raises:
        StremnError: if the text is no config of this version.
    """
    return _architecture(json_object(text).get("architecture"))[0].from_json(text)


def _architecture(name: Any) -> tuple[type[ModelConfig], type[nn.Module]]:
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise StremnError(f"unknown architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
