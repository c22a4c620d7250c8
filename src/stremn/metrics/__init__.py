"""Scores: of masks as they come with this package, of predicted video in ``stremn.metrics.prediction``."""

from stremn.metrics.segmentation import *  # noqa: F403
from stremn.metrics.segmentation import __all__ as __all__
