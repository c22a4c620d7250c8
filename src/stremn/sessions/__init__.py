"""Sessions: the online state of one video. They know a model and hold no weights."""

from stremn.sessions.prediction import PredictionSession, Rollout
from stremn.sessions.segmentation import SegmentationResult, SegmentationSession
from stremn.sessions.settings import PredictionSettings, SegmentationSettings
from stremn.sessions.views import MULTI_SCALE, ONE_VIEW, View

__all__ = [
    "MULTI_SCALE",
    "ONE_VIEW",
    "PredictionSession",
    "PredictionSettings",
    "Rollout",
    "SegmentationResult",
    "SegmentationSession",
    "SegmentationSettings",
    "View",
]
