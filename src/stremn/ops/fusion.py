"""Eq. (6)-(12), Appendix B: what a deleted template leaves to another one. A negative result of the paper."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["align", "fuse"]

Network = Callable[[Tensor], Tensor]
"""From two maps side by side ``(O, N, 2·C)`` to one ``(O, N, C)``."""


def align(reference: Tensor, other: Tensor) -> Tensor:
    """Bring what is in ``other`` to the places where ``reference`` has it: FAM, Eq. (7).

    Args:
        reference: ``(O, N, C)``.
        other: ``(O, M, C)``.

    Returns:
        For each position of the reference a mixture of positions of the other ``(O, N, C)``.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> other = 50 * torch.eye(3).unsqueeze(0)
        >>> reference = other[:, [2, 0, 1]]
        >>> torch.equal(align(reference, other), reference)
        True
    """
    if reference.dim() != 3 or other.dim() != 3 or reference.shape[::2] != other.shape[::2]:
        raise ValueError(
            f"expected (O, N, C) and (O, M, C), got {tuple(reference.shape)}, {tuple(other.shape)}"
        )
    return (reference @ other.transpose(1, 2)).softmax(dim=-1) @ other


def fuse(deleted: Tensor, target: Tensor, f: Network, h: Network, g: Network) -> Tensor:
    """Update a target template by one that is about to be deleted, Eq. (6)-(12).

    The supplement aligns the filtered template X′ in Eq. (10), where the appendix prints X; so does this.

    Args:
        deleted: X_i ``(O, N, C)``.
        target: X_j ``(O, N, C)``.
        f: of the input filter, Eq. (8).
        h: of the update gate, Eq. (11).
        g: of what is new, Eq. (12).

    Returns:
        The updated target ``(O, N, C)``.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> deleted, target = torch.randn(2, 1, 9, 4)
        >>> closed = lambda maps: torch.full_like(maps[..., :4], -1000.0)  # a gate that lets nothing in
        >>> torch.equal(fuse(deleted, target, closed, closed, closed), target)
        True
    """
    keep = torch.sigmoid(f(torch.cat([deleted, align(deleted, target)], dim=-1)))
    both = torch.cat([align(target, keep * deleted), target], dim=-1)
    gate = torch.sigmoid(h(both))
    return (1 - gate) * target + gate * torch.tanh(g(both))
