"""Eq. (5): dense attention of every query position over all positions of all slots."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Method", "Similarity", "affinity", "space_time_read"]

Similarity = Literal["dot", "l2"]
Method = Literal["fused", "dense", "blockwise"]


def _as_dot_product(query: Tensor, key: Tensor, similarity: Similarity) -> tuple[Tensor, Tensor | None]:
    """Query and additive bias (..., M) whose biased dot product with ``key`` ranks as the similarity does.

    -|q - k|² = 2 q·k - |k|² - |q|², and the last term is the same for every key, so softmax drops it.
    """
    if similarity == "dot":
        return query, None
    if similarity == "l2":
        return 2 * query, -key.square().sum(dim=-1)
    raise ValueError(f"unknown similarity '{similarity}': use 'dot' or 'l2'")


def _check(query: Tensor, key: Tensor, occupied: Tensor | None) -> None:
    if query.dim() != 3 or key.dim() != 3 or key.shape[::2] != query.shape[::2]:
        raise ValueError(
            f"expected query (O, N, C) and key (O, M, C), got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    if occupied is not None and occupied.shape != key.shape[:2]:
        raise ValueError(f"expected occupied {tuple(key.shape[:2])}, got {tuple(occupied.shape)}")


def affinity(
    query: Tensor,
    key: Tensor,
    *,
    similarity: Similarity = "dot",
    scale: float | None = None,
    occupied: Tensor | None = None,
) -> Tensor:
    """Attention weights of every query position over all memory positions, the fraction in Eq. (5).

    Args:
        query: query keys ``(O, N, C)``.
        key: memory keys ``(O, M, C)``.
        similarity: ``"dot"`` (Eq. 5) or ``"l2"``, the negative squared distance of STCN
            (https://arxiv.org/abs/2106.05210).
        scale: factor on the similarity; ``None`` means ``1/√C`` as in STM's code, 1 is Eq. (5) to the letter.
        occupied: booleans ``(O, M)``; positions that are False get no weight. Each row needs one True.

    Returns:
        ``(O, N, M)``, each row with sum 1.

    Raises:
        ValueError: if the shapes do not fit or the name of the similarity is unknown.
    """
    _check(query, key, occupied)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    query, bias = _as_dot_product(query, key, similarity)
    scores = query @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias.unsqueeze(-2)
    scores = scores * scale
    if occupied is not None:
        scores = scores.masked_fill(~occupied.unsqueeze(-2), -torch.inf)
    return scores.softmax(dim=-1)


def space_time_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    similarity: Similarity = "dot",
    scale: float | None = None,
    occupied: Tensor | None = None,
    method: Method = "fused",
    block: int = 1024,
) -> Tensor:
    """Read the memory for every query position, Eq. (5) without the concatenation.

    Args:
        query: query keys ``(O, N, Ck)``.
        key: memory keys ``(O, M, Ck)``, all slots one after the other (``M = K·H·W``).
        value: memory values ``(O, M, Cv)``.
        similarity: see :func:`affinity`.
        scale: see :func:`affinity`.
        occupied: see :func:`affinity`.
        method: ``"fused"`` uses PyTorch's fused attention, which never holds the ``(N, M)`` matrix on CPU
            and CUDA; ``"dense"`` is the plain formula; ``"blockwise"`` the plain formula for ``block``
            query positions at a time. All give the same result.
        block: query positions at a time for ``"blockwise"``.

    Returns:
        The readout ``(O, N, Cv)``.

    Raises:
        ValueError: if the shapes do not fit or a name is unknown.
    """
    _check(query, key, occupied)
    if value.dim() != 3 or value.shape[:2] != key.shape[:2]:
        raise ValueError(
            f"expected key (O, M, Ck) and value (O, M, Cv), got {tuple(key.shape)} and {tuple(value.shape)}"
        )
    if method == "fused":
        return _fused_read(query, key, value, similarity, scale, occupied)
    if method == "dense":
        return affinity(query, key, similarity=similarity, scale=scale, occupied=occupied) @ value
    if method == "blockwise":
        parts = [
            affinity(part, key, similarity=similarity, scale=scale, occupied=occupied) @ value
            for part in query.split(block, dim=1)
        ]
        return torch.cat(parts, dim=1)
    raise ValueError(f"unknown method '{method}': use 'fused', 'dense' or 'blockwise'")


def _fused_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    similarity: Similarity,
    scale: float | None,
    occupied: Tensor | None,
) -> Tensor:
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    query, bias = _as_dot_product(query, key, similarity)
    if bias is not None:
        bias = bias * scale
    if occupied is not None:
        bias = key.new_zeros(key.shape[:2]) if bias is None else bias
        bias = bias.masked_fill(~occupied, -torch.inf)
    # The flash kernel for CPU wants keys and values of one width; zeros change neither result.
    width = max(query.shape[-1], value.shape[-1])
    query, key = (F.pad(t, (0, width - t.shape[-1])) for t in (query, key))
    padded = F.pad(value, (0, width - value.shape[-1]))
    readout = F.scaled_dot_product_attention(
        query.unsqueeze(1),
        key.unsqueeze(1),
        padded.unsqueeze(1),
        attn_mask=None if bias is None else bias[:, None, None, :].to(query.dtype),
        scale=scale,
    ).squeeze(1)
    return readout[..., : value.shape[-1]]
