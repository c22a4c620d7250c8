"""Losses of video prediction (Sec. 4.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["prediction_loss", "scale_invariant_gradient_loss", "scale_invariant_gradients", "shrinkage_loss"]

SPACINGS = (1, 2, 4, 8, 16)


def shrinkage_loss(
    prediction: Tensor, truth: Tensor, *, power: int = 2, speed: float = 10.0, turn: float = 0.2
) -> Tensor:
    """Compute the mean of ``l**power / (1 + exp(a (c - l)))``, where ``l = |prediction - truth|``.

    Lu et al., "Deep Regression Tracking with Shrinkage Loss" (ECCV 2018), for ``power`` 2, where it
    modulates the squared error; the paper puts it on L1 too, which is ``power`` 1.

    Args:
        prediction: any shape, frames in about [0, 1].
        truth: of the same shape.
        power: 1 or 2, the loss that is modulated.
        speed: a, how sharply the weight rises from 0 to 1.
        turn: c, the error at which the weight is one half.

    Returns:
        A scalar, float32 (float64 for frames of float64).

    Raises:
        ValueError: if the shapes differ or ``power`` is neither 1 nor 2.
    """
    prediction, truth = _pair(prediction, truth)
    if power not in (1, 2):
        raise ValueError(f"the shrinkage loss modulates L1 or L2, not power {power}")
    error = (prediction - truth).abs()
    # The sigmoid is the same factor, and stays finite where exp would not.
    return (error**power * torch.sigmoid(speed * (error - turn))).mean()


def scale_invariant_gradients(frames: Tensor, spacing: int, *, epsilon: float = 1e-3) -> Tensor:
    """Divide differences of pixels ``spacing`` apart by the sum of their magnitudes.

    Ummenhofer et al., "DeMoN: Depth and Motion Network for Learning Monocular Stereo" (CVPR 2017):
    ``g_h[f](i, j) = ((f(i+h, j) - f(i, j)) / (|f(i+h, j)| + |f(i, j)|), the same along j)``.

    Args:
        frames: ``(..., h, w)``.
        spacing: h in pixels, less than both sides.
        epsilon: added to the denominator, since frames have black pixels.

    Returns:
        ``(2, ..., h - spacing, w - spacing)`` in [-1, 1]: down, then to the right.
    """
    here = frames[..., :-spacing, :-spacing]
    below, right = frames[..., spacing:, :-spacing], frames[..., :-spacing, spacing:]
    return torch.stack([(o - here) / (o.abs() + here.abs() + epsilon) for o in (below, right)])


def scale_invariant_gradient_loss(
    prediction: Tensor, truth: Tensor, *, spacings: Sequence[int] = SPACINGS, epsilon: float = 1e-3
) -> Tensor:
    """Add up the mean distance of the scale-invariant gradients of both frames over the spacings.

    Ummenhofer et al. (CVPR 2017), with the mean over pixels in place of their sum, so that its
    weight does not depend on the size of the frames.

    Args:
        prediction: ``(..., h, w)``, frames in about [0, 1].
        truth: of the same shape.
        spacings: in pixels; those that do not fit into the frame are left out.
        epsilon: added to the denominator, since frames have black pixels.

    Returns:
        A scalar, float32 (float64 for frames of float64).

    Raises:
        ValueError: if the shapes differ.
    """
    prediction, truth = _pair(prediction, truth)
    loss = prediction.new_zeros(())
    for spacing in spacings:
        if spacing < min(prediction.shape[-2:]):
            found, wanted = (
                scale_invariant_gradients(frames, spacing, epsilon=epsilon) for frames in (prediction, truth)
            )
            loss = loss + torch.linalg.vector_norm(found - wanted, dim=0).mean()
    return loss


def prediction_loss(
    prediction: Tensor,
    truth: Tensor,
    *,
    l1_weight: float = 1.0,
    l2_weight: float = 1.0,
    gradient_weight: float = 1.0,
) -> Tensor:
    """Compute the loss of Sec. 4.2: shrinkage on L1 and on L2, and the scale-invariant gradient loss.

    The paper gives no weights. Means run over all pixels, so the loss of a batch of clips of one shape is the
    mean of the losses of its parts.

    Args:
        prediction: ``(B, T, C, h, w)``, frames in about [0, 1].
        truth: of the same shape.
        l1_weight: of the shrinkage loss on L1; a weight of 0 leaves its term out.
        l2_weight: of the shrinkage loss on L2.
        gradient_weight: of the scale-invariant gradient loss.

    Returns:
        A scalar, float32 (float64 for frames of float64).

    Raises:
        ValueError: if the shapes differ.
    """
    prediction, truth = _pair(prediction, truth)
    loss = prediction.new_zeros(())
    if l1_weight:
        loss = loss + l1_weight * shrinkage_loss(prediction, truth, power=1)
    if l2_weight:
        loss = loss + l2_weight * shrinkage_loss(prediction, truth, power=2)
    if gradient_weight:
        loss = loss + gradient_weight * scale_invariant_gradient_loss(prediction, truth)
    return loss


def _pair(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Give both in at least float32: half precision has too few digits for differences of frames."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {tuple(prediction.shape)}, truth is {tuple(truth.shape)}")
    kind = torch.promote_types(prediction.dtype, torch.float32)
    return prediction.to(kind), truth.to(kind)
