"""What a clip of video prediction is: frames only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["FrameClip", "collate_frames", "make_frame_clip"]


@dataclass(frozen=True)
class FrameClip:
    """One clip without annotation, or a batch of them with ``B`` in front.

    Attributes:
        frames: ``(T, C, h, w)`` float32 in [0, 1]; C is 3 (RGB) or 1 (grey).
    """

    frames: Tensor


def make_frame_clip(images: np.ndarray) -> FrameClip:
    """Frames ``(T, h, w, C)`` uint8 as a clip."""
    frames = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return FrameClip(frames.to(torch.float32).div_(255))


def collate_frames(clips: list[FrameClip]) -> FrameClip:
    """A batch of clips of one shape."""
    return FrameClip(torch.stack([clip.frames for clip in clips]))
