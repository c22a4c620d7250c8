"""Sessions: the online state of one video. They know a model and hold no weights.

Importing the room is cheap, and :class:`OnnxSession` needs no PyTorch: a module is imported when the first of
its names is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stremn.sessions.graph import export_onnx
    from stremn.sessions.onnx import OnnxSession
    from stremn.sessions.prediction import PredictionSession, Rollout
    from stremn.sessions.result import SegmentationResult
    from stremn.sessions.segmentation import SegmentationSession
    from stremn.sessions.settings import PredictionSettings, SegmentationSettings
    from stremn.sessions.views import MULTI_SCALE, ONE_VIEW, View

__all__ = [
    "MULTI_SCALE",
    "ONE_VIEW",
    "OnnxSession",
    "PredictionSession",
    "PredictionSettings",
    "Rollout",
    "SegmentationResult",
    "SegmentationSession",
    "SegmentationSettings",
    "View",
    "export_onnx",
]

_MODULES = {
    "MULTI_SCALE": "views",
    "ONE_VIEW": "views",
    "OnnxSession": "onnx",
    "PredictionSession": "prediction",
    "PredictionSettings": "settings",
    "Rollout": "prediction",
    "SegmentationResult": "result",
    "SegmentationSession": "segmentation",
    "SegmentationSettings": "settings",
    "View": "views",
    "export_onnx": "graph",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
