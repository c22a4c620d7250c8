"""Sessions: the online state of one video. They know a model and hold no weights."""

from stremn.sessions.runtime import Runtime
from stremn.sessions.segmentation import SegmentationResult, SegmentationSession

__all__ = ["Runtime", "SegmentationResult", "SegmentationSession"]
