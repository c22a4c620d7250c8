"""Losses of segmentation."""

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.ops import soft_aggregation

__all__ = ["segmentation_loss"]


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    valid: Tensor,
    *,
    dice_weight: float = 1.0,
    hard_share: float = 1.0,
) -> Tensor:
    """Compute cross entropy of the aggregated objects (Sec. 4.1.1), plus a soft Dice term per object.

    All means are taken per clip first, so that the loss of a batch is the mean of the losses of its parts.

    Args:
        logits: ``(B, T, O, h', w')``, upsampled here to the labels' size.
        labels: ``(B, T, h, w)`` int64 in [0, O].
        valid: which objects exist ``(B, O)`` bool.
        dice_weight: weight of 1 - Dice; 0 leaves it out.
        hard_share: share of each frame's pixels, those of largest cross entropy, that count.

    Returns:
        A scalar, float32 (float64 for logits of float64).
    """
    frames, target = logits.flatten(0, 1), labels.flatten(0, 1)
    frames = frames.to(torch.promote_types(frames.dtype, torch.float32))
    frames = F.interpolate(frames, size=target.shape[-2:], mode="bilinear", align_corners=False)
    odds = soft_aggregation(frames, dim=1)
    entropy = F.cross_entropy(odds, target, reduction="none").flatten(1)
    if hard_share < 1:
        entropy = entropy.topk(max(1, round(hard_share * entropy.shape[1])), dim=1).values
    loss = entropy.mean()
    if dice_weight == 0:
        return loss
    probability = odds.softmax(dim=1)[:, 1:].flatten(2)
    ids = torch.arange(1, frames.shape[1] + 1, device=target.device).view(1, -1, 1)
    truth = (target.flatten(1).unsqueeze(1) == ids).to(probability.dtype)
    overlap = 2 * (probability * truth).sum(2) + 1
    dice = overlap / (probability.sum(2) + truth.sum(2) + 1)
    missed = (1 - dice).unflatten(0, labels.shape[:2]).mean(dim=1)
    return loss + dice_weight * ((missed * valid).sum(dim=1) / valid.sum(dim=1).clamp_min(1)).mean()
