"""Networks: encoders, read, decoder. They know the memory and hold no state."""

from stremn.models.checkpoint import from_pretrained, save_pretrained
from stremn.models.config import SegmenterConfig
from stremn.models.inference import for_inference
from stremn.models.registry import MODELS, build_model, create_model
from stremn.models.segmenter import ImageFeatures, Segmenter

__all__ = [
    "MODELS",
    "ImageFeatures",
    "Segmenter",
    "SegmenterConfig",
    "build_model",
    "create_model",
    "for_inference",
    "from_pretrained",
    "save_pretrained",
]
