"""What a training clip is, with masks and without, and what a data set of them is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["Clip", "ClipMixture", "ClipRequest", "FrameClip", "collate", "collate_frames", "make_frame_clip"]

AnyClip = TypeVar("AnyClip")


class ClipRequest(NamedTuple):
    """Which training clip to make.

    Attributes:
        number: of the clip, from 0; with the seed of the data set it fixes all that is random.
        frames: T.
        size: sides of the clip in pixels.
    """

    number: int
    frames: int
    size: int


@dataclass(frozen=True)
class Clip:
    """One training clip, or a batch of them with ``B`` in front.

    Attributes:
        frames: ``(T, 3, h, w)`` float32, RGB in [0, 1].
        labels: ``(T, h, w)`` int64, 0 = background, 1…O = objects.
        valid: which of the O objects exist ``(O,)`` bool.
    """

    frames: Tensor
    labels: Tensor
    valid: Tensor


def collate(clips: list[Clip]) -> Clip:
    """Join clips to a batch; O becomes the most objects that one of them has."""
    valid = torch.stack([c.valid for c in clips])
    most = max(1, int(valid.sum(dim=1).max()))
    frames, labels = torch.stack([c.frames for c in clips]), torch.stack([c.labels for c in clips])
    return Clip(frames, labels, valid[:, :most])


class ClipMixture(Dataset[AnyClip]):
    """Mixes clips of several data sets by their shares; clip ``i`` depends only on the seed and ``i``.

    Args:
        parts: data sets of clips.
        shares: probability of each, any positive scale.
        seed: seed of the draw.
    """

    def __init__(self, parts: Sequence[Dataset[AnyClip]], shares: Sequence[float], seed: int) -> None:
        self.parts, self.seed = parts, seed
        self.cumulative = np.cumsum(shares) / np.sum(shares)

    def __getitem__(self, request: ClipRequest) -> AnyClip:
        """Make the clip by the part that is drawn for it."""
        draw = np.random.default_rng([self.seed, 0, request.number]).random()
        return self.parts[int(np.searchsorted(self.cumulative, draw, side="right"))][request]


@dataclass(frozen=True)
class FrameClip:
    """One clip without annotation, or a batch of them with ``B`` in front.

    Attributes:
        frames: ``(T, C, h, w)`` float32 in [0, 1]; C is 3 (RGB) or 1 (grey).
    """

    frames: Tensor


def make_frame_clip(images: np.ndarray) -> FrameClip:
    """Make a clip of frames ``(T, h, w, C)`` uint8."""
    frames = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return FrameClip(frames.to(torch.float32).div_(255))


def collate_frames(clips: list[FrameClip]) -> FrameClip:
    """Join clips of one shape to a batch."""
    return FrameClip(torch.stack([clip.frames for clip in clips]))
