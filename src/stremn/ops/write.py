"""Eq. (4): put a template into a slot."""

import torch
from torch import Tensor

__all__ = ["mix_slots", "replace_slots"]


def _check_template(slots: Tensor, template: Tensor) -> None:
    if template.shape != slots.shape[:1] + slots.shape[2:]:
        raise ValueError(
            f"expected a template of the slots' shape without K, got slots {tuple(slots.shape)} "
            f"and template {tuple(template.shape)}"
        )


def mix_slots(slots: Tensor, template: Tensor, weights: Tensor) -> Tensor:
    """``X_i ← (1 - a_i) X_i + a_i X_t`` for every slot, Eq. (4), differentiable in all arguments.

    Args:
        slots: ``(O, K, N, C)``.
        template: ``(O, N, C)``.
        weights: ``a``, ``(O, K)``, in [0, 1].

    Returns:
        New slots ``(O, K, N, C)``. With one-hot weights they equal those of :func:`replace_slots`.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> slots, template = torch.zeros(1, 3, 1, 1), torch.ones(1, 1, 1)
        >>> mix_slots(slots, template, torch.tensor([[0.0, 0.5, 1.0]])).flatten().tolist()
        [0.0, 0.5, 1.0]
    """
    if slots.dim() != 4 or weights.shape != slots.shape[:2]:
        raise ValueError(
            f"expected slots (O, K, N, C) and weights (O, K), got {tuple(slots.shape)} "
            f"and {tuple(weights.shape)}"
        )
    _check_template(slots, template)
    # In the dtype of the slots: under autocast the weights are float32 and would promote the whole memory.
    weights = weights.to(slots.dtype)[:, :, None, None]
    return slots * (1 - weights) + template.to(slots.dtype).unsqueeze(1) * weights


def replace_slots(slots: Tensor, template: Tensor, index: Tensor) -> Tensor:
    """Write the template over one slot of each object, in place, Eq. (4) with a one-hot vector.

    Args:
        slots: ``(O, K, N, C)`` or ``(O, K)``; changed in place.
        template: ``(O, N, C)`` or ``(O,)`` accordingly.
        index: slot for each object ``(O,)``, int64; a negative index writes nothing.

    Returns:
        ``slots``.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> slots, template = torch.zeros(1, 3, 1, 1), torch.ones(1, 1, 1)
        >>> replace_slots(slots, template, torch.tensor([1])).flatten().tolist()
        [0.0, 1.0, 0.0]
    """
    _check_template(slots, template)
    if index.shape != slots.shape[:1]:
        raise ValueError(
            f"expected an index for each object {tuple(slots.shape[:1])}, got {tuple(index.shape)}"
        )
    objects = torch.arange(slots.shape[0], device=slots.device)
    kept = index.clamp_min(0)
    write = (index >= 0).view(-1, *(1,) * (template.dim() - 1))
    slots[objects, kept] = torch.where(write, template.to(slots.dtype), slots[objects, kept])
    return slots
