"""One way of looking at the frames of a video; V7 averages what several views see."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.models import Segmenter

__all__ = ["MULTI_SCALE", "ONE_VIEW", "View"]


@dataclass(frozen=True)
class View:
    """A factor on the internal resolution, mirrored or not. Each view has a slot memory of its own.

    Attributes:
        scale: factor on the session's ``size``, > 0.
        flip: whether left and right are exchanged.
    """

    scale: float = 1.0
    flip: bool = False

    def turn(self, maps: Tensor) -> Tensor:
        """Maps ``(…, h, w)`` as this view has them, or back: mirroring is its own inverse."""
        return maps.flip(-1) if self.flip else maps

    def enlarge(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits of this view ``(O, 1, h', w')`` at the frame's size and the right way round."""
        return self.turn(F.interpolate(logits, size=size, mode="bilinear", align_corners=False))

    def reduce(self, probabilities: Tensor, size: torch.Size) -> Tensor:
        """Probabilities of the frame ``(O, 1, H, W)`` as this view has them, at its own size (h', w')."""
        return Segmenter.resize(self.turn(probabilities), size)


ONE_VIEW = (View(),)
"""The frame as it is."""

MULTI_SCALE = tuple(View(scale, flip) for scale in (1.0, 1.15, 1.3, 1.5) for flip in (False, True))
"""Multi-scale and flip testing as in CFBI (https://arxiv.org/abs/2003.08333), V7: eight views."""
