"""Data sets on disk and the training clips made of them."""

from stremn.data.prediction.any_videos import read_reels
from stremn.data.prediction.clips import FrameClip, FrameClips, FrameWindows, collate_frames
from stremn.data.prediction.human36m import read_human36m
from stremn.data.prediction.kth import kth_stride, read_kth
from stremn.data.prediction.mnist import MovingMnist, MovingMnistFile, read_digits
from stremn.data.requests import ClipRequest
from stremn.data.segmentation.clips import Clip, ClipMixture, collate
from stremn.data.segmentation.layouts import open_stills, open_videos
from stremn.data.segmentation.playing import PlayedFrame, new_objects, play, played_frames
from stremn.data.segmentation.still_clips import SyntheticClips
from stremn.data.segmentation.stills import Still, StillFolder, StillLayout, StillSet
from stremn.data.segmentation.video_clips import VideoClips
from stremn.data.segmentation.videos import Video, read_videos

__all__ = [
    "Clip",
    "ClipMixture",
    "ClipRequest",
    "FrameClip",
    "FrameClips",
    "FrameWindows",
    "MovingMnist",
    "MovingMnistFile",
    "PlayedFrame",
    "Still",
    "StillFolder",
    "StillLayout",
    "StillSet",
    "SyntheticClips",
    "Video",
    "VideoClips",
    "collate",
    "collate_frames",
    "kth_stride",
    "new_objects",
    "open_stills",
    "open_videos",
    "play",
    "played_frames",
    "read_digits",
    "read_human36m",
    "read_kth",
    "read_reels",
    "read_videos",
]
