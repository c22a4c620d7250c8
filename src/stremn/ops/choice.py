"""Eq. (2) and (3): a discrete choice of one slot that gradients pass through."""

import torch
from torch import Tensor

__all__ = ["gumbel_softmax", "sample_gumbel", "straight_through"]


def sample_gumbel(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Independent Gumbel(0, 1) noise of the shape, dtype and device of ``like``.

    Examples:
        >>> sample_gumbel(torch.zeros(2, 6), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 6])
    """
    exponential = torch.empty_like(like).exponential_(generator=generator)
    return -exponential.clamp_min(torch.finfo(like.dtype).tiny).log()


def gumbel_softmax(scores: Tensor, noise: Tensor | None = None, *, tau: float = 1.0) -> Tensor:
    """Soft weights over slots, Eq. (3).

    Args:
        scores: similarities ``(O, K)``; ``-inf`` excludes a slot.
        noise: Gumbel noise ``(O, K)``, or ``None`` for the plain softmax.
        tau: temperature, > 0; the paper uses 1.

    Returns:
        Weights ``(O, K)``, each row non-negative with sum 1.

    Raises:
        ValueError: if ``tau`` is not positive or the noise has another shape than the scores.

    Examples:
        >>> gumbel_softmax(torch.tensor([[0.0, 0.0, -torch.inf]])).tolist()
        [[0.5, 0.5, 0.0]]
    """
    if tau <= 0:
        raise ValueError(f"tau must be positive, got {tau}")
    if noise is not None:
        if noise.shape != scores.shape:
            raise ValueError(f"expected noise {tuple(scores.shape)}, got {tuple(noise.shape)}")
        scores = scores + noise
    return torch.softmax(scores / tau, dim=-1)


def straight_through(soft: Tensor) -> Tensor:
    """One-hot at the largest weight going forward, the gradient of ``soft`` going backward, Eq. (2).

    Args:
        soft: weights ``(O, K)``.

    Returns:
        ``(O, K)``: exactly 0 and 1 in value.

    Examples:
        >>> soft = torch.tensor([[0.2, 0.7, 0.1]], requires_grad=True)
        >>> hard = straight_through(soft)
        >>> hard.tolist()
        [[0.0, 1.0, 0.0]]
        >>> hard[0, 0].backward()
        >>> soft.grad.tolist()
        [[1.0, 0.0, 0.0]]
    """
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    # Grouped so that the value is exactly the one-hot vector: soft - soft.detach() is exactly zero.
    return hard + (soft - soft.detach())
