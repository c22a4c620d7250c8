"""Eq. (5): dense attention of every query position over all positions of all slots."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Method", "Similarity", "affinity", "space_time_read"]

Similarity = Literal["dot", "l2"]
Method = Literal["auto", "fused", "dense", "blockwise"]

BLOCK_ENTRIES = 2**24
"""Entries of the affinity matrix that a block may have, over all objects: 32 MiB in half precision."""


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
        ValueError: if the shapes do not fit or the similarity is unknown.

    Examples:
        >>> query, key = torch.randn(2, 9, 16), torch.randn(2, 54, 16)  # 3x3 positions, six slots
        >>> weights = affinity(query, key, similarity="l2")
        >>> weights.shape, bool(torch.isclose(weights.sum(dim=-1), torch.ones(())).all())
        (torch.Size([2, 9, 54]), True)
    """
    query, key = _as_dot_product(query, key, similarity, scale, occupied)
    return _weights(query, key)


def space_time_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    similarity: Similarity = "dot",
    scale: float | None = None,
    occupied: Tensor | None = None,
    parts: Sequence[int] = (),
    method: Method = "auto",
    block: int | None = None,
) -> Tensor:
    """Read the memory for every query position, Eq. (5) without the concatenation.

    Args:
        query: query keys ``(O, N, Ck)``.
        key: memory keys ``(O, M, Ck)``, all slots one after the other (``M = K·H·W``).
        value: memory values ``(O, M, Cv)``.
        similarity: see :func:`affinity`.
        scale: see :func:`affinity`.
        occupied: see :func:`affinity`.
        parts: lengths of parts of the memory that are read each by itself, P of them with sum M; empty for
            the memory as a whole.
        method: ``"fused"`` uses PyTorch's fused attention, which never holds the ``(N, M)`` matrix;
            ``"dense"`` is the plain formula; ``"blockwise"`` the plain formula for ``block`` query positions
            at a time. All give the same result; ``"auto"`` takes what ``benchmarks/read_methods.py`` found
            to be the fastest.
        block: query positions at a time for ``"blockwise"``; ``None`` keeps a block's weights within 32 MiB
            in half precision.

    Returns:
        The readout ``(O, N, Cv)`` in the query's dtype; of parts one after the other ``(O, N, P·Cv)``.

    Raises:
        ValueError: if the shapes do not fit or a name is unknown.

    Examples:
        >>> query, key, value = torch.randn(2, 9, 16), torch.randn(2, 54, 16), torch.randn(2, 54, 32)
        >>> space_time_read(query, key, value).shape
        torch.Size([2, 9, 32])
        >>> space_time_read(query, key, value, parts=[9, 9, 36]).shape
        torch.Size([2, 9, 96])
    """
    if value.dim() != 3 or value.shape[:2] != key.shape[:2]:
        raise ValueError(
            f"expected key (O, M, Ck) and value (O, M, Cv), got {tuple(key.shape)} and {tuple(value.shape)}"
        )
    if method not in get_args(Method):
        raise ValueError(f"unknown method '{method}': use one of {', '.join(get_args(Method))}")
    lengths = list(parts) or [key.shape[1]]
    if sum(lengths) != key.shape[1]:
        raise ValueError(f"parts {lengths} do not add up to the {key.shape[1]} positions of the memory")
    query, key = _as_dot_product(query, key, similarity, scale, occupied)
    value = value.to(query.dtype)
    if method == "auto":
        method = _fastest(query, value)
    width = value.shape[-1]
    if method == "fused" and query.device.type == "cpu":
        # The flash kernel for CPU wants keys and values of one width; zeros change neither result.
        wide = max(query.shape[-1], width)
        query, key, value = (_padded(t, wide - t.shape[-1]) for t in (query, key, value))
    readouts = [
        _read(query, *part, method, block)[..., :width]
        for part in zip(key.split(lengths, dim=1), value.split(lengths, dim=1), strict=True)
    ]
    return readouts[0] if len(readouts) == 1 else torch.cat(readouts, dim=-1)


def _read(query: Tensor, key: Tensor, value: Tensor, method: Method, block: int | None) -> Tensor:
    if method == "fused":
        return _fused_read(query, key, value)
    if method == "dense":
        return _weighted(_weights(query, key), value)
    objects, positions, _ = query.shape
    block = block or max(16, BLOCK_ENTRIES // (objects * key.shape[1]))
    readouts = [_weighted(_weights(part, key), value) for part in query.split(min(block, positions), dim=1)]
    return torch.cat(readouts, dim=1)


def _fastest(query: Tensor, value: Tensor) -> Method:
    """On a CPU the fused kernel gains nothing from half precision, nor with values much wider than keys."""
    if query.device.type != "cpu":
        return "fused"
    half = query.dtype in (torch.bfloat16, torch.float16)
    return "blockwise" if half or value.shape[-1] > 2 * query.shape[-1] else "fused"


def _as_dot_product(
    query: Tensor, key: Tensor, similarity: Similarity, scale: float | None, occupied: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Query and key, a few channels wider, whose plain dot product ranks as the similarity does.

    -|q - k|² = 2 q·k - |k|² - |q|²; softmax drops the last term, which is the same for every key. The term
    in k, and a very low one for positions that are not occupied, become channels of the key, where the query
    is 1, so that every method reads by one product and needs no mask.
    """
    if query.dim() != 3 or key.dim() != 3 or key.shape[::2] != query.shape[::2]:
        raise ValueError(
            f"expected query (O, N, C) and key (O, M, C), got {tuple(query.shape)} and {tuple(key.shape)}"
        )
    if occupied is not None and occupied.shape != key.shape[:2]:
        raise ValueError(f"expected occupied {tuple(key.shape[:2])}, got {tuple(occupied.shape)}")
    if similarity not in get_args(Similarity):
        raise ValueError(f"unknown similarity '{similarity}': use 'dot' or 'l2'")
    key = key.to(query.dtype)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    exact = torch.promote_types(query.dtype, torch.float32)
    terms: list[Tensor] = []
    if similarity == "l2":
        bias = -scale * key.to(exact).square().sum(dim=-1)
        high = bias.to(query.dtype)
        # Half precision keeps too few digits of |k|²; a second channel holds what the first one rounds off.
        terms = [high] if exact == query.dtype else [high, (bias - high.to(exact)).to(query.dtype)]
        scale = 2 * scale
    if occupied is not None:
        low = torch.finfo(query.dtype).min / 4
        terms.append(key.new_zeros(key.shape[:2]).masked_fill(~occupied, low))
    query = query * scale
    if terms:
        key = torch.cat([key, *(term.unsqueeze(-1) for term in terms)], dim=-1)
        query = torch.cat([query, query.new_ones((*query.shape[:2], len(terms)))], dim=-1)
    return query, key


def _weights(query: Tensor, key: Tensor) -> Tensor:
    # Autocast would run the softmax in float32, at twice the time; inside it accumulates in float32 anyway.
    with torch.autocast(query.device.type, enabled=False):
        return (query @ key.transpose(-1, -2)).softmax(dim=-1)


def _weighted(weights: Tensor, value: Tensor) -> Tensor:
    with torch.autocast(weights.device.type, enabled=False):
        return weights @ value


def _fused_read(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    objects, positions, _ = query.shape
    heads = 1
    # The kernel for CPU deals out blocks of positions, mostly an odd number; halves keep two threads busy.
    if objects == 1 and query.device.type == "cpu" and not torch.compiler.is_compiling():
        heads = 2 if torch.get_num_threads() == 2 else 1
    query = _padded(query, 0, -positions % heads).unflatten(1, (heads, -1))
    key, value = (t.unsqueeze(1).expand(-1, heads, -1, -1) for t in (key, value))
    readout = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return readout.flatten(1, 2)[:, :positions]


def _padded(tokens: Tensor, channels: int, positions: int = 0) -> Tensor:
    """With so many zero channels and positions more; ``F.pad`` copies also where there are none."""
    return F.pad(tokens, (0, channels, 0, positions)) if channels or positions else tokens
