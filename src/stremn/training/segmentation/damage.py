"""Mistakes made on purpose: what a network should not believe of its own masks."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["damaged"]

CELLS = 6
"""Cells along each side of the noise that regions are cut from: about a sixth of the frame is their size."""

REACH = 0.12
"""How far from the object a false part may be, in shares of the frame's height."""


def damaged(probabilities: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Masks of which some lost parts of their object, and others gained parts of what is beside it.

    In a long video a mistake is written into memory and comes back from there. Clips are too short for that
    to happen by itself; so it is done to them, and the frames after it teach to go back to the given mask.

    Args:
        probabilities: of the objects ``(O, 1, h, w)``.
        share: of the objects that are damaged, from 0 to 1; half by a loss, half by a gain.
        generator: of the draws, on the device of the probabilities.

    Returns:
        Probabilities of the same shape.
    """
    objects, _, height, width = probabilities.shape
    device = probabilities.device
    hit, loses, level = torch.rand((3, objects, 1, 1, 1), generator=generator, device=device)
    noise = torch.randn((objects, 1, CELLS, CELLS), generator=generator, device=device)
    noise = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    region = noise > 0.2 + 0.8 * level
    reach = round(REACH * height)
    near = F.max_pool2d((probabilities.detach() > 0.5).float(), 2 * reach + 1, stride=1, padding=reach) > 0
    lost = probabilities.masked_fill(region, 0)
    gained = probabilities.masked_fill(region & near, 1)
    return torch.where(hit < share, torch.where(loses < 0.5, lost, gained), probabilities)
