"""STReMN: video object segmentation and prediction with constant memory."""

from stremn.errors import StremnError

__version__ = "0.1.0"

__all__ = ["StremnError", "__version__"]
