"""What a training clip is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Clip", "ClipRequest", "collate", "make_clip"]


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


def make_clip(images: list[np.ndarray], labels: list[np.ndarray], ids: Sequence[int], objects: int) -> Clip:
    """Images in [0, 1] and label maps to a clip in which ``ids`` become 1, 2, … and the rest background."""
    lookup = np.zeros(256, np.int64)
    lookup[list(ids)] = np.arange(1, len(ids) + 1)
    return Clip(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(lookup[np.stack(labels)]),
        torch.arange(objects) < len(ids),
    )


def collate(clips: list[Clip]) -> Clip:
    """A batch of clips; O becomes the most objects that one of them has."""
    valid = torch.stack([c.valid for c in clips])
    most = max(1, int(valid.sum(dim=1).max()))
    return Clip(
        torch.stack([c.frames for c in clips]),
        torch.stack([c.labels for c in clips]),
        valid[:, :most],
    )
