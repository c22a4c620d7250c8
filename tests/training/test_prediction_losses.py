"""The losses of video prediction against values by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stremn.training.prediction.losses import (
    prediction_loss,
    scale_invariant_gradient_loss,
    scale_invariant_gradients,
    shrinkage_loss,
)


def frames(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("power", [1, 2])
def test_shrinkage_by_hand(power: int) -> None:
    errors = [0.0, 0.1, 0.2, -0.5, 1.0]
    expected = sum(abs(e) ** power / (1 + math.exp(10 * (0.2 - abs(e)))) for e in errors) / 5
    found = shrinkage_loss(torch.tensor(errors, dtype=torch.float64), torch.zeros(5), power=power)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_shrinkage_halves_the_loss_at_its_turn() -> None:
    truth = torch.zeros(1, dtype=torch.float64)
    assert shrinkage_loss(truth + 0.2, truth).item() == pytest.approx(0.2**2 / 2)
    assert shrinkage_loss(truth + 0.3, truth, turn=0.3, speed=4).item() == pytest.approx(0.3**2 / 2)


def test_shrinkage_of_huge_errors_is_finite() -> None:
    prediction = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = shrinkage_loss(prediction, torch.zeros(2))
    loss.backward()
    assert loss.item() == pytest.approx(1e8)
    assert bool(prediction.grad.isfinite().all())


def test_gradients_by_hand() -> None:
    image = torch.tensor([[0.1, 0.3, 0.3], [0.3, 0.0, 0.9], [0.5, 0.5, 0.5]], dtype=torch.float64)
    down, right = scale_invariant_gradients(image, 1, epsilon=0)
    torch.testing.assert_close(
        down, torch.tensor([[0.5, -1.0], [0.2 / 0.8, 1.0]], dtype=torch.float64), rtol=1e-12, atol=0
    )
    torch.testing.assert_close(
        right, torch.tensor([[0.5, 0.0], [-1.0, 1.0]], dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert scale_invariant_gradients(image, 2).shape == (2, 1, 1)


def test_gradient_loss_by_hand() -> None:
    flat, step = torch.full((2, 2), 0.5, dtype=torch.float64), torch.tensor([[0.2, 0.6], [0.6, 0.2]]).double()
    # Both gradients of the step are 0.4 / 0.8, those of the flat frame 0; larger spacings do not fit.
    found = scale_invariant_gradient_loss(step, flat, epsilon=0)
    assert found.item() == pytest.approx(math.sqrt(0.5**2 + 0.5**2))


def test_gradient_loss_by_loops() -> None:
    """Five spacings (P3); at each the mean, over frames and pixels, of the distance of two gradients."""
    a, b = frames(0, 3, 18, 20), frames(1, 3, 18, 20)

    def gradient(image: list[list[float]], i: int, j: int, h: int) -> list[float]:
        here = image[i][j]
        others = (image[i + h][j], image[i][j + h])
        return [(other - here) / (abs(other) + abs(here) + 1e-3) for other in others]

    expected = 0.0
    for h in (1, 2, 4, 8, 16):
        distances = [
            math.dist(gradient(one, i, j, h), gradient(other, i, j, h))
            for one, other in zip(a.tolist(), b.tolist(), strict=True)
            for i in range(18 - h)
            for j in range(20 - h)
        ]
        expected += sum(distances) / len(distances)
    assert scale_invariant_gradient_loss(a, b).item() == pytest.approx(expected, rel=1e-12)


@given(st.floats(0.2, 5.0))
def test_gradients_do_not_depend_on_brightness(factor: float) -> None:
    image = frames(2, 9, 9) + 0.1
    torch.testing.assert_close(
        scale_invariant_gradients(image * factor, 2, epsilon=0),
        scale_invariant_gradients(image, 2, epsilon=0),
    )


LOSSES = [
    lambda a, b: shrinkage_loss(a, b, power=1),
    lambda a, b: shrinkage_loss(a, b, power=2),
    lambda a, b: scale_invariant_gradient_loss(a, b, spacings=(1, 2)),
    prediction_loss,
]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss) -> None:
    truth = frames(3, 1, 2, 1, 4, 5)
    assert torch.autograd.gradcheck(loss, (frames(4, 1, 2, 1, 4, 5).requires_grad_(), truth))


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_frames_cost_nothing_and_have_no_gradient(loss) -> None:
    prediction = frames(5, 2, 2, 1, 18, 18).requires_grad_()
    value = loss(prediction, prediction.detach().clone())
    value.backward()
    assert value.item() == 0
    assert prediction.grad.abs().max() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_batch_is_the_mean_of_its_parts(loss) -> None:
    a, b = frames(6, 4, 3, 1, 18, 18), frames(7, 4, 3, 1, 18, 18)
    parts = [loss(a[i : i + 1], b[i : i + 1]).item() for i in range(4)]
    assert loss(a, b).item() == pytest.approx(sum(parts) / 4)


@pytest.mark.parametrize("loss", LOSSES)
def test_other_shapes_are_refused(loss) -> None:
    with pytest.raises(ValueError, match="truth is"):
        loss(torch.zeros(1, 2, 1, 4, 4), torch.zeros(1, 1, 1, 4, 4))


def test_weights_choose_the_terms() -> None:
    a, b = frames(8, 1, 2, 3, 20, 20), frames(9, 1, 2, 3, 20, 20)
    found = prediction_loss(a, b, l1_weight=2, l2_weight=3, gradient_weight=0.5)
    expected = (
        2 * shrinkage_loss(a, b, power=1)
        + 3 * shrinkage_loss(a, b, power=2)
        + 0.5 * scale_invariant_gradient_loss(a, b)
    )
    torch.testing.assert_close(found, expected)
    assert prediction_loss(a, b, l1_weight=0, gradient_weight=0) == shrinkage_loss(a, b)
    with pytest.raises(ValueError, match="power 3"):
        shrinkage_loss(a, b, power=3)


def test_half_precision_is_computed_in_float32() -> None:
    a, b = frames(10, 1, 1, 1, 20, 20), frames(11, 1, 1, 1, 20, 20)
    loss = prediction_loss(a.bfloat16(), b.bfloat16())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(prediction_loss(a, b).item(), rel=0.02)
