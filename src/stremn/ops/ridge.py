"""A linear model of the target, fitted to templates in closed form by ridge regression.

The idea of a light target model that is fitted to a video rather than trained is of "Learning Fast and Robust
Target Models for Video Object Segmentation" (https://arxiv.org/abs/2003.00908), which iterates to the
solution. With weights per position and a squared error the solution needs no more of a template than its
second moments, and these add up over templates.
"""

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

__all__ = ["balanced_weights", "target_fit", "target_moments"]

LEAST_SHARE = 1e-3
"""Share of the frame that object and rest cover at least, for their weights."""

BLOCK = 64
"""Most unknowns that are eliminated at a time by products: fewer mean more and smaller products."""

NEARLY_INVERSE = 1e-4
"""How far from 1 eigenvalues of matrix times inverse may be before Newton's last step, which squares it."""

Solver = Literal["auto", "cholesky", "products"]

LEAST_PENALTY = 1e-4
"""Added to every penalty, so that a feature that is zero in all templates can be solved for."""


def balanced_weights(mask: Tensor) -> Tensor:
    """Weights by which an object counts as much as all that is not the object, however small it is.

    Args:
        mask: how much of each position the object covers ``(O, N)``, in [0, 1].

    Returns:
        ``(O, N)``, not negative; their mean is 1 unless object or rest cover less than a thousandth.

    Examples:
        >>> balanced_weights(torch.tensor([[1.0, 0.0, 0.0, 0.0]])).tolist()  # the object weighs a half
        [[2.0, 0.6666..., 0.6666..., 0.6666...]]
    """
    share = mask.mean(dim=1, keepdim=True)
    inside = mask / share.clamp(min=LEAST_SHARE)
    outside = (1 - mask) / (1 - share).clamp(min=LEAST_SHARE)
    return (inside + outside) / 2


def target_moments(features: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """What a fit needs to know of a template: weighted second moments.

    Args:
        features: ``(O, N, C)``.
        targets: what is to be predicted from them ``(O, N, T)``.
        weights: of the positions ``(O, N)``.

    Returns:
        ``(O, C, C + T)``, at least float32: means over positions of the products of features with features
        and with targets.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> features, targets = torch.randn(2, 9, 16), torch.randn(2, 9, 3)
        >>> target_moments(features, targets, torch.ones(2, 9)).shape
        torch.Size([2, 16, 19])
    """
    if (
        features.dim() != 3
        or targets.dim() != 3
        or not features.shape[:2] == targets.shape[:2] == weights.shape
    ):
        raise ValueError(
            f"expected features (O, N, C), targets (O, N, T) and weights (O, N), got "
            f"{tuple(features.shape)}, {tuple(targets.shape)} and {tuple(weights.shape)}"
        )
    exact = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        features, targets = features.to(exact), targets.to(exact)
        weighted = features * (weights.to(exact) / features.shape[1]).unsqueeze(-1)
        return weighted.transpose(1, 2) @ torch.cat([features, targets], dim=-1)


def target_fit(moments: Tensor, *, ridge: float = 0.03, method: Solver = "auto") -> Tensor:
    """Fit the linear model: its product with features predicts the targets.

    Args:
        moments: of :func:`target_moments`, or a sum of them ``(O, C, C + T)``.
        ridge: penalty on the square of each coefficient, in shares of the second moment of its feature, so
            that the scale of a feature changes next to nothing.
        method: ``"cholesky"``, or ``"products"``, which needs nothing but products of matrices, with the same
            result up to rounding; ``"auto"`` takes products only where there is no Cholesky: in an exported
            graph, and while a CUDA graph is captured.

    Returns:
        Coefficients ``(O, C, T)``, at least float32.

    Raises:
        ValueError: if the shape does not fit, the method is unknown, or there is no penalty for products.

    Examples:
        >>> features = torch.randn(1, 50, 4, generator=torch.Generator().manual_seed(0))
        >>> targets = features @ torch.tensor([[1.0], [2.0], [0.0], [-1.0]])
        >>> fit = target_fit(target_moments(features, targets, torch.ones(1, 50)), ridge=1e-4)
        >>> [round(c, 1) + 0.0 for c in fit.flatten().tolist()]
        [1.0, 2.0, 0.0, -1.0]
    """
    if moments.dim() != 3 or moments.shape[2] <= moments.shape[1]:
        raise ValueError(f"expected moments (O, C, C + T), got {tuple(moments.shape)}")
    if method not in get_args(Solver):
        raise ValueError(f"unknown method '{method}': use one of {', '.join(get_args(Solver))}")
    if method == "products" and ridge <= 0:
        raise ValueError(f"products need a penalty above 0, got {ridge}")
    channels = moments.shape[1]
    exact = torch.promote_types(moments.dtype, torch.float32)
    if method == "auto":
        capturing = moments.is_cuda and torch.cuda.is_current_stream_capturing()
        method = "products" if capturing or torch.compiler.is_exporting() else "cholesky"
    with torch.autocast(moments.device.type, enabled=False):
        gram, cross = moments.to(exact).split([channels, moments.shape[2] - channels], dim=-1)
        second = gram.diagonal(dim1=-2, dim2=-1)
        penalty = ridge * second + LEAST_PENALTY
        normal = gram + torch.diag_embed(penalty)
        if method == "cholesky":
            factor, _ = torch.linalg.cholesky_ex(normal)
            return torch.cholesky_solve(cross, factor)
        # With ones on the diagonal no eigenvalue is below the share of the penalty in it.
        scale = (second + penalty).rsqrt().unsqueeze(-1)
        return scale * _solve_by_products(normal * scale * scale.mT, scale * cross, ridge / (1 + ridge))


def _solve_by_products(normal: Tensor, right: Tensor, least: float) -> Tensor:
    """Solve a system ``(O, C, C)`` whose matrix is positive definite, with ones on its diagonal.

    Elimination by blocks, then one step of refinement, which makes good what single precision loses.

    Args:
        normal: ``(O, C, C)``.
        right: ``(O, C, T)``.
        least: no eigenvalue is smaller.
    """
    size = normal.shape[-1]
    count = -(-size // BLOCK)
    bounds = [round(i * size / count) for i in range(count + 1)]
    rest, eliminated = normal, []
    for first, last in pairwise(bounds):
        width = last - first
        # What is left after elimination has eigenvalues no smaller, and a diagonal no larger, than the whole.
        inverse, below = _inverse_by_products(rest[:, :width, :width], least), rest[:, width:, :width]
        eliminated.append((inverse, below))
        if last < size:
            rest = rest[:, width:, width:] - below @ (inverse @ below.mT)

    def solve(right: Tensor) -> Tensor:
        parts = []
        for inverse, below in eliminated:
            parts.append(inverse @ right[:, : inverse.shape[-1]])
            right = right[:, inverse.shape[-1] :] - below @ parts[-1]
        found = parts[-1]
        for (inverse, below), part in reversed(list(zip(eliminated[:-1], parts[:-1], strict=True))):
            found = torch.cat([part - inverse @ (below.mT @ found), found], dim=1)
        return found

    found = solve(right)
    return found + solve(right - normal @ found)


def _inverse_by_products(matrix: Tensor, least: float) -> Tensor:
    """The inverse of a positive definite matrix ``(O, C, C)``, by Newton's iteration.

    A step takes an eigenvalue e of matrix times inverse to e(2 - e). All of them lie in known bounds, and
    between the steps these are brought to lie evenly around 1, which halves the number of steps.

    Args:
        matrix: no diagonal entry is larger than 1, so that no eigenvalue is larger than C.
        least: no eigenvalue is smaller.
    """
    size = matrix.shape[-1]
    eye = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    inverse, off = 2 / (least + size) * eye.expand_as(matrix), (size - least) / (size + least)
    while off > NEARLY_INVERSE:
        even = 2 / (2 - off**2)
        inverse = torch.baddbmm(inverse, inverse, matrix @ inverse, beta=2 * even, alpha=-even)
        off = even - 1
    return inverse + inverse @ (eye - matrix @ inverse)
