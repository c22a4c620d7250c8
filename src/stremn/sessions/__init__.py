"""Sessions: the online state of one video. They know a model and hold no weights."""

from stremn.sessions.prediction import PredictionSession, Rollout
from stremn.sessions.segmentation import SegmentationResult, SegmentationSession
from stremn.sessions.view import MULTI_SCALE, ONE_VIEW, View

__all__ = [
    "MULTI_SCALE",
    "ONE_VIEW",
    "PredictionSession",
    "Rollout",
    "SegmentationResult",
    "SegmentationSession",
    "View",
]
