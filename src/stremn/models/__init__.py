"""Networks: encoders, read, decoder. They know the memory and hold no state."""

from stremn.models.checkpoint import as_model, from_pretrained, save_pretrained
from stremn.models.config import (
    ModelConfig,
    MotionConfig,
    PredictorConfig,
    RecurrentConfig,
    SegmenterConfig,
    SimVPConfig,
)
from stremn.models.hub import model_card, push_to_hub
from stremn.models.predictor import Predictor, PredictorState
from stremn.models.registry import (
    MODELS,
    PREDICTORS,
    build_model,
    create_model,
    model_names,
    reconfigured,
)
from stremn.models.segmenter import ImageFeatures, SegmentationState, Segmenter

__all__ = [
    "MODELS",
    "PREDICTORS",
    "ImageFeatures",
    "ModelConfig",
    "MotionConfig",
    "Predictor",
    "PredictorConfig",
    "PredictorState",
    "RecurrentConfig",
    "SegmentationState",
    "Segmenter",
    "SegmenterConfig",
    "SimVPConfig",
    "as_model",
    "build_model",
    "create_model",
    "from_pretrained",
    "model_card",
    "model_names",
    "push_to_hub",
    "reconfigured",
    "save_pretrained",
]
