"""Data sets on disk and the training clips made of them."""

from stremn.data.clip import Clip, ClipRequest, collate
from stremn.data.davis import Sequence, read_sequences
from stremn.data.mixture import ClipMixture
from stremn.data.stills import Still, StillFolder
from stremn.data.synthetic import SyntheticClips
from stremn.data.videos import VideoClips

__all__ = [
    "Clip",
    "ClipMixture",
    "ClipRequest",
    "Sequence",
    "Still",
    "StillFolder",
    "SyntheticClips",
    "VideoClips",
    "collate",
    "read_sequences",
]
