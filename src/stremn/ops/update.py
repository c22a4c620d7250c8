"""Eq. (1) to (4): which slot a new template goes to, and how it is put there.

The similarity of the template to every slot (1), a choice that gradients pass through (2, 3), the write (4).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "gumbel_softmax",
    "mix_slots",
    "replace_slots",
    "sample_gumbel",
    "straight_through",
    "update_similarity",
]


BLOCK_ENTRIES = {"cpu": 3 * 2**20, "cuda": 2**25}
"""Cosines that a block may have, over all objects: few enough to stay in a processor's cache, or 128 MiB."""


def update_similarity(candidate: Tensor, slots: Tensor, *, block: int | None = None) -> Tensor:
    """Mean over positions of the candidate of the best cosine in each slot, Eq. (1).

    Args:
        candidate: update keys of the new template, ``(O, N, C)``.
        slots: update keys of the slots, ``(O, K, M, C)``; ``M`` need not equal ``N``.
        block: positions of the candidate handled at a time; ``None`` keeps the cosines that exist at once,
            ``O × block × K·M``, within 12 MiB in single precision on a CPU. The result is the same.

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
    entries = BLOCK_ENTRIES.get(candidate.device.type, BLOCK_ENTRIES["cuda"])
    block = block or max(16, entries // max(1, objects * count * slot_positions))
    total = candidate.new_zeros((objects, count), dtype=torch.promote_types(candidate.dtype, torch.float32))
    for part in candidate.split(block, dim=1):
        cosine = (part @ bank).unflatten(2, (count, slot_positions))
        total = total + cosine.amax(dim=3).sum(dim=1, dtype=total.dtype)
    return total / positions


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
    each = slots.shape[:1] + slots.shape[2:]
    if slots.dim() != 4 or template.shape != each or weights.shape != slots.shape[:2]:
        raise ValueError(
            f"expected slots (O, K, N, C), template (O, N, C) and weights (O, K), got {tuple(slots.shape)}, "
            f"{tuple(template.shape)} and {tuple(weights.shape)}"
        )
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
    if template.shape != slots.shape[:1] + slots.shape[2:] or index.shape != slots.shape[:1]:
        raise ValueError(
            f"expected slots (O, K, N, C), template (O, N, C) and index (O,), got {tuple(slots.shape)}, "
            f"{tuple(template.shape)} and {tuple(index.shape)}"
        )
    objects = torch.arange(slots.shape[0], device=slots.device)
    kept = index.clamp_min(0)
    write = (index >= 0).view(-1, *(1,) * (template.dim() - 1))
    slots[objects, kept] = torch.where(write, template.to(slots.dtype), slots[objects, kept])
    return slots
