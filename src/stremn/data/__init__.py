"""Data sets on disk and the training clips made of them."""

from stremn.data.clips import Clip, ClipMixture, ClipRequest, FrameClip, collate, collate_frames
from stremn.data.prediction.any_videos import read_reels
from stremn.data.prediction.clips import FrameClips, FrameWindows
from stremn.data.prediction.human_actions import kth_stride, read_human36m, read_kth
from stremn.data.prediction.mnist import MovingMnist, MovingMnistFile, read_digits
from stremn.data.prediction.recall import MemoryClips
from stremn.data.segmentation.crossing import CrossingClips
from stremn.data.segmentation.still_clips import SyntheticClips
from stremn.data.segmentation.stills import Still, StillFolder, StillLayout, StillSet, open_stills
from stremn.data.segmentation.video_clips import VideoClips
from stremn.data.segmentation.videos import (
    PlayedFrame,
    Video,
    check_scorable,
    find_part,
    has_truth,
    new_objects,
    open_videos,
    play,
    played_frames,
    read_videos,
    training_categories,
)

__all__ = [
    "Clip",
    "ClipMixture",
    "ClipRequest",
    "CrossingClips",
    "FrameClip",
    "FrameClips",
    "FrameWindows",
    "MemoryClips",
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
    "check_scorable",
    "collate",
    "collate_frames",
    "find_part",
    "has_truth",
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
    "training_categories",
]
