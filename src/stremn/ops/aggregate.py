"""Soft aggregation of the probabilities of several objects (STM, https://arxiv.org/abs/1904.00607)."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["background_logit", "soft_aggregation"]


def soft_aggregation(logits: Tensor, *, dim: int = 1) -> Tensor:
    """Turn one logit per object into log-odds that compete with each other and with the background.

    Every object is estimated alone; the background is what no object claims, ``∏ (1 - p_o)``. The result
    goes through a softmax, which then equals STM's ratio of odds.

    Args:
        logits: ``(…, O, …)`` with objects along ``dim``.
        dim: dimension of the objects.

    Returns:
        Log-odds with the background first: ``O + 1`` entries along ``dim``, float32 (or float64).

    Examples:
        >>> logits = torch.tensor([[4.0, 4.0], [-4.0, 4.0]])  # two objects at two pixels
        >>> soft_aggregation(logits, dim=0).softmax(dim=0).argmax(dim=0).tolist()  # 0 would be background
        [1, 1]
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return torch.cat([background_logit(logits, dim).unsqueeze(dim), logits], dim=dim)


def background_logit(logits: Tensor, dim: int) -> Tensor:
    """Log-odds of the background ``(…)``, for logits of all objects along ``dim``."""
    # log(1 - p) of an object is -softplus(logit); for the background, odds are b / (1 - b).
    log_background = -F.softplus(logits).sum(dim=dim)
    log_background = log_background.clamp(-60.0, -1e-6)
    return log_background - (-log_background.expm1()).log()
