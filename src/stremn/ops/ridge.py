"""A linear model of the target, fitted to templates in closed form by ridge regression.

The idea of a light target model that is fitted to a video rather than trained is of "Learning Fast and Robust
Target Models for Video Object Segmentation" (https://arxiv.org/abs/2003.00908), which iterates to the
solution. With weights per position and a squared error the solution needs no more of a template than its
second moments, and these add up over templates.
"""

import torch
from torch import Tensor

__all__ = ["balanced_weights", "target_fit", "target_moments"]

LEAST_SHARE = 1e-3
"""Share of the frame that object and rest cover at least, for their weights."""

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


def target_fit(moments: Tensor, *, ridge: float = 0.03) -> Tensor:
    """Fit the linear model: its product with features predicts the targets.

    Args:
        moments: of :func:`target_moments`, or a sum of them ``(O, C, C + T)``.
        ridge: penalty on the square of each coefficient, in shares of the second moment of its feature, so
            that the scale of a feature changes next to nothing.

    Returns:
        Coefficients ``(O, C, T)``, at least float32.

    Raises:
        ValueError: if the shape does not fit.

    Examples:
        >>> features = torch.randn(1, 50, 4, generator=torch.Generator().manual_seed(0))
        >>> targets = features @ torch.tensor([[1.0], [2.0], [0.0], [-1.0]])
        >>> fit = target_fit(target_moments(features, targets, torch.ones(1, 50)), ridge=1e-4)
        >>> [round(c, 1) + 0.0 for c in fit.flatten().tolist()]
        [1.0, 2.0, 0.0, -1.0]
    """
    if moments.dim() != 3 or moments.shape[2] <= moments.shape[1]:
        raise ValueError(f"expected moments (O, C, C + T), got {tuple(moments.shape)}")
    channels = moments.shape[1]
    exact = torch.promote_types(moments.dtype, torch.float32)
    with torch.autocast(moments.device.type, enabled=False):
        gram, cross = moments.to(exact).split([channels, moments.shape[2] - channels], dim=-1)
        penalty = ridge * gram.diagonal(dim1=-2, dim2=-1) + LEAST_PENALTY
        factor, _ = torch.linalg.cholesky_ex(gram + torch.diag_embed(penalty))
        return torch.cholesky_solve(cross, factor)
