"""A page in the browser: draw objects at any frame, watch them being followed, correct, go on, export."""

from stremn.studio.project import Project
from stremn.studio.studio import Studio
from stremn.studio.tracking import Tracker

__all__ = ["Project", "Studio", "Tracker"]
