"""Data sets on disk and the training clips made of them."""

from stremn.data.clip import Clip, ClipRequest, collate
from stremn.data.davis import Sequence, read_sequences
from stremn.data.frame_clips import FrameClips, FrameWindows
from stremn.data.frame_folders import read_reels
from stremn.data.frames import FrameClip, collate_frames
from stremn.data.human36m import read_human36m
from stremn.data.kth import kth_stride, read_kth
from stremn.data.layouts import open_stills, open_videos
from stremn.data.mixture import ClipMixture
from stremn.data.moving_mnist import MovingMnist, MovingMnistFile, read_digits
from stremn.data.paired import StillFolder
from stremn.data.playing import Moment, joining, play, played_frames
from stremn.data.stills import Still, StillLayout, StillSet
from stremn.data.synthetic import SyntheticClips
from stremn.data.videos import VideoClips

__all__ = [
    "Clip",
    "ClipMixture",
    "ClipRequest",
    "FrameClip",
    "FrameClips",
    "FrameWindows",
    "Moment",
    "MovingMnist",
    "MovingMnistFile",
    "Sequence",
    "Still",
    "StillFolder",
    "StillLayout",
    "StillSet",
    "SyntheticClips",
    "VideoClips",
    "collate",
    "collate_frames",
    "joining",
    "kth_stride",
    "open_stills",
    "open_videos",
    "play",
    "played_frames",
    "read_digits",
    "read_human36m",
    "read_kth",
    "read_reels",
    "read_sequences",
]
