"""STReMN: video object segmentation with constant memory.

Importing the package is cheap: PyTorch is imported when the first of its names is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.models import create_model, from_pretrained, save_pretrained
    from stremn.sessions import OnnxSession, PredictionSession, SegmentationResult, SegmentationSession

__version__ = "0.2.0.dev0"

__all__ = [
    "OnnxSession",
    "PredictionSession",
    "SegmentationResult",
    "SegmentationSession",
    "StremnError",
    "__version__",
    "create_model",
    "from_pretrained",
    "save_pretrained",
]

_ROOMS = {
    "OnnxSession": "sessions",
    "PredictionSession": "sessions",
    "SegmentationResult": "sessions",
    "SegmentationSession": "sessions",
    "create_model": "models",
    "from_pretrained": "models",
    "save_pretrained": "models",
}


def __getattr__(name: str) -> Any:
    """Import a public name, or the room that it is in, when it is first asked for."""
    if name in _ROOMS:
        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
    if name in _ROOMS.values():
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
