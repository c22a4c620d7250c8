"""How fast a video goes on whose frames partly repeat the one before, as after a change of its frame rate."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["AHEAD", "SPEEDS", "UNKNOWN", "followed_by", "measured", "paces_of"]

SPEEDS = 12
"""Of so many frames the speed is known, the newest first."""

UNKNOWN = -1.0
"""Speed of a frame that was not observed."""

LEAST_SPEED, LEAST_CHANGE = 0.1, 0.5
"""A frame repeats the one before if it moves and changes by less than so much of what frames did before."""

PERIODS = range(2, 7)
"""Frames after which repeats may come again."""

AHEAD = math.lcm(*PERIODS)
"""Frames to come of which the pace is told."""


def measured(speed: Tensor, change: Tensor, usual: Tensor) -> tuple[Tensor, Tensor]:
    """Tell frames that repeat the one before, but for noise, from those that do not.

    Args:
        speed: mean length of the displacement from the frame before ``(B,)``.
        change: mean absolute difference from it ``(B,)``.
        usual: what this function returned for the frame before ``(B, 2)``; zero at the first.

    Returns:
        The speed ``(B,)``, zero if and only if the frame repeats the one before, and what was measured of
        the last frame that did not ``(B, 2)``; that falls with every repeat, so that less motion than before
        is not taken for repeats for long.
    """
    found = torch.stack([speed, change], dim=1)
    again = (found <= usual * usual.new_tensor([LEAST_SPEED, LEAST_CHANGE])).all(dim=1)
    again = again | (change == 0)
    return speed.clamp_min(1e-3).masked_fill(again, 0), torch.where(again.unsqueeze(1), usual / 2, found)


def followed_by(speed: Tensor, speeds: Tensor) -> Tensor:
    """Speeds with that of another frame before them.

    In hindsight frames that were far slower were repeats as well, which the first are not known to be.

    Args:
        speed: as :func:`measured` says ``(B,)``, ``UNKNOWN`` of the first frame.
        speeds: the newest first, ``UNKNOWN`` before the first frame ``(B, SPEEDS)``.

    Returns:
        ``(B, SPEEDS)``.
    """
    newest = speed.unsqueeze(1)
    slow = (speeds > 0) & (speeds <= LEAST_SPEED * newest)
    return torch.cat([newest, speeds.masked_fill(slow, 0)[:, :-1]], dim=1)


def paces_of(speeds: Tensor) -> Tensor:
    """By how much of the last motion each of the frames to come goes on, 1 where no frame repeats.

    If repeats come periodically, by as much as one period before. Else by the mean; after two repeats in
    succession the scene stands still.

    Args:
        speeds: as :func:`followed_by` says ``(B, SPEEDS)``.

    Returns:
        ``(B, AHEAD)``, zero where the frame before is repeated; after these they come again.
    """
    known, again = speeds >= 0, speeds == 0
    last = speeds.gather(1, (speeds > 0).byte().argmax(dim=1, keepdim=True)).clamp_min(1e-3)
    stands = again & F.pad(again[:, 1:] | ~known[:, 1:], (0, 1), value=True)
    lately = known & (stands.cumsum(dim=1) == 0)
    mean = (speeds * lately).sum(dim=1, keepdim=True) / lately.sum(dim=1, keepdim=True).clamp_min(1) / last
    paces = torch.where((again & lately).any(dim=1, keepdim=True), mean.clamp_max(1), 1.0)
    paces = paces.masked_fill(stands[:, :1], 0).expand(-1, AHEAD)
    for period in reversed(PERIODS):
        both = known[:, :-period] & known[:, period:]
        same = (again[:, :-period] == again[:, period:]) | ~both
        found = same.all(dim=1) & (both.sum(dim=1) >= period - 1)
        found = found & again[:, :period].any(dim=1) & ~again[:, :period].all(dim=1)
        then = speeds[:, :period].flip(1).repeat(1, AHEAD // period)
        paces = torch.where(found.unsqueeze(1), (then / last).clamp_max(2), paces)
    return paces
