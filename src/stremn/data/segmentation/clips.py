"""What a training clip is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stremn.data.requests import ClipRequest

__all__ = ["Clip", "ClipMixture", "collate", "make_clip"]


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
    """Make a clip of images in [0, 1] and label maps; ``ids`` become 1, 2, … and the rest background."""
    lookup = np.zeros(256, np.int64)
    lookup[list(ids)] = np.arange(1, len(ids) + 1)
    return Clip(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(lookup[np.stack(labels)]),
        torch.arange(objects) < len(ids),
    )


def collate(clips: list[Clip]) -> Clip:
    """Join clips to a batch; O becomes the most objects that one of them has."""
    valid = torch.stack([c.valid for c in clips])
    most = max(1, int(valid.sum(dim=1).max()))
    return Clip(
        torch.stack([c.frames for c in clips]),
        torch.stack([c.labels for c in clips]),
        valid[:, :most],
    )


class ClipMixture(Dataset[Clip]):
    """Mixes clips of several data sets by their shares; clip ``i`` depends only on the seed and ``i``.

    Args:
        parts: data sets of clips.
        shares: probability of each, any positive scale.
        seed: seed of the draw.
    """

    def __init__(self, parts: Sequence[Dataset[Clip]], shares: Sequence[float], seed: int) -> None:
        self.parts, self.seed = parts, seed
        self.cumulative = np.cumsum(shares) / np.sum(shares)

    def __getitem__(self, request: ClipRequest) -> Clip:
        """Make the clip by the part that is drawn for it."""
        draw = np.random.default_rng([self.seed, 0, request.number]).random()
        return self.parts[int(np.searchsorted(self.cumulative, draw, side="right"))][request]
