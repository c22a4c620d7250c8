"""One factory for all models."""

from dataclasses import replace
from typing import Any

from stremn.errors import StremnError
from stremn.models.config import SegmenterConfig
from stremn.models.lite import LiteSegmenter
from stremn.models.r50 import PaperSegmenter
from stremn.models.segmenter import Segmenter

__all__ = ["MODELS", "build_model", "create_model"]

ARCHITECTURES: dict[str, type[Segmenter]] = {"lite": LiteSegmenter, "stm": PaperSegmenter}

MODELS: dict[str, SegmenterConfig] = {
    "stremn-lite": SegmenterConfig(
        architecture="lite",
        key_dim=64,
        value_dim=128,
        update_dim=64,
        similarity="l2",
        skip=True,
        guidance=True,
        size=360,
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
    "stremn-r50": SegmenterConfig(architecture="stm"),
}
"""Named configs; every test walks through them."""


def build_model(config: SegmenterConfig) -> Segmenter:
    """A model with random weights from its config.

    Raises:
        StremnError: if the architecture is unknown.
    """
    if config.architecture not in ARCHITECTURES:
        raise StremnError(
            f"unknown architecture '{config.architecture}': choose one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[config.architecture](config)


def create_model(name: str, **changes: Any) -> Segmenter:
    """A registered model with random weights; keyword arguments replace fields of its config.

    Raises:
        StremnError: if the name or a field is unknown.
    """
    if name not in MODELS:
        raise StremnError(f"unknown model '{name}': choose one of {', '.join(MODELS)}")
    try:
        return build_model(replace(MODELS[name], **changes))
    except TypeError as error:
        raise StremnError(f"model '{name}': {error}") from error
