"""Eq. (1): how similar a new template is to each slot, under deformation and motion."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["update_similarity"]


def update_similarity(candidate: Tensor, slots: Tensor, *, block: int | None = None) -> Tensor:
    """Mean over positions of the candidate of the best cosine in each slot, Eq. (1).

    Args:
        candidate: update keys of the new template, ``(O, N, C)``.
        slots: update keys of the slots, ``(O, K, M, C)``; ``M`` need not equal ``N``.
        block: positions of the candidate handled at a time, so that no more than ``block × K·M``
            cosines exist at once; ``None`` handles all together. The result is the same.

    Returns:
        Scores ``(O, K)`` in [-1, 1], differentiable in both arguments.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> slots = torch.randn(1, 4, 9, 16)  # one object, four slots of 3x3 positions
        >>> scores = update_similarity(slots[:, 2], slots)
        >>> scores.shape, int(scores.argmax())
        (torch.Size([1, 4]), 2)
    """
    if candidate.dim() != 3 or slots.dim() != 4 or candidate.shape[::2] != slots.shape[::3]:
        raise ValueError(
            f"expected candidate (O, N, C) and slots (O, K, M, C), got {tuple(candidate.shape)} "
            f"and {tuple(slots.shape)}"
        )
    objects, positions, _ = candidate.shape
    count, slot_positions = slots.shape[1:3]
    candidate = F.normalize(candidate, dim=-1)
    bank = F.normalize(slots, dim=-1).flatten(1, 2).transpose(1, 2)
    total = candidate.new_zeros((objects, count), dtype=torch.promote_types(candidate.dtype, torch.float32))
    for part in candidate.split(block or positions, dim=1):
        cosine = (part @ bank).unflatten(2, (count, slot_positions))
        total = total + cosine.amax(dim=3).sum(dim=1, dtype=total.dtype)
    return total / positions
