"""Losses of segmentation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.ops import soft_aggregation

__all__ = ["segmentation_loss"]


def segmentation_loss(logits: Tensor, labels: Tensor, valid: Tensor, *, dice_weight: float = 1.0) -> Tensor:
    """Cross entropy of the aggregated objects (Sec. 4.1.1), plus a soft Dice term per object.

    Args:
        logits: ``(B, T, O, h', w')``, upsampled here to the labels' size.
        labels: ``(B, T, h, w)`` int64 in [0, O].
        valid: which objects exist ``(B, O)`` bool.
        dice_weight: weight of 1 - Dice, whose mean is over existing objects; 0 leaves it out.

    Returns:
        A scalar, float32 (float64 for logits of float64).
    """
    frames, target = logits.flatten(0, 1), labels.flatten(0, 1)
    frames = frames.to(torch.promote_types(frames.dtype, torch.float32))
    frames = F.interpolate(frames, size=target.shape[-2:], mode="bilinear", align_corners=False)
    odds = soft_aggregation(frames, dim=1)
    loss = F.cross_entropy(odds, target)
    if dice_weight == 0:
        return loss
    probability = odds.softmax(dim=1)[:, 1:].flatten(2)
    ids = torch.arange(1, frames.shape[1] + 1, device=target.device).view(1, -1, 1)
    truth = (target.flatten(1).unsqueeze(1) == ids).to(probability.dtype)
    overlap = 2 * (probability * truth).sum(2) + 1
    dice = overlap / (probability.sum(2) + truth.sum(2) + 1)
    exists = valid.repeat_interleave(labels.shape[1], dim=0).to(dice.dtype)
    return loss + dice_weight * ((1 - dice) * exists).sum() / exists.sum().clamp_min(1)
