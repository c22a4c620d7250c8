"""STReMN: video object segmentation with constant memory."""

from stremn.errors import StremnError
from stremn.models import create_model, from_pretrained, save_pretrained
from stremn.sessions import PredictionSession, SegmentationResult, SegmentationSession

__version__ = "0.1.0"

__all__ = [
    "PredictionSession",
    "SegmentationResult",
    "SegmentationSession",
    "StremnError",
    "__version__",
    "create_model",
    "from_pretrained",
    "save_pretrained",
]
