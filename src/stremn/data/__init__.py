"""Data sets on disk and the training clips made of them."""

from stremn.data.clip import Clip, ClipRequest, collate
from stremn.data.davis import Sequence, read_sequences
from stremn.data.layouts import open_stills, open_videos
from stremn.data.mixture import ClipMixture
from stremn.data.paired import StillFolder
from stremn.data.stills import Still, StillLayout, StillSet
from stremn.data.synthetic import SyntheticClips
from stremn.data.videos import VideoClips

__all__ = [
    "Clip",
    "ClipMixture",
    "ClipRequest",
    "Sequence",
    "Still",
    "StillFolder",
    "StillLayout",
    "StillSet",
    "SyntheticClips",
    "VideoClips",
    "collate",
    "open_stills",
    "open_videos",
    "read_sequences",
]
