"""Losses: gradients, extremes, and objects that do not exist."""

import math

import pytest
import torch
from torch import Tensor

from stremn.training.segmentation.losses import segmentation_loss
from stremn.training.segmentation.segment_clip import ABSENT_LOGIT

B, T, O, H, W = 2, 2, 2, 3, 4  # noqa: E741


@pytest.fixture
def example() -> tuple[Tensor, Tensor, Tensor]:
    """Random float64 logits, labels at four times their size, all objects valid."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((B, T, O, H, W), generator=generator, dtype=torch.float64)
    labels = torch.randint(0, O + 1, (B, T, 4 * H, 4 * W), generator=generator)
    return logits, labels, torch.ones((B, O), dtype=torch.bool)


def perfect(labels: Tensor, certainty: float = 30.0) -> Tensor:
    ids = torch.arange(1, O + 1).view(1, 1, -1, 1, 1)
    return torch.where(labels.unsqueeze(2) == ids, certainty, -certainty)


@pytest.mark.parametrize("dice_weight", [0.0, 1.0])
def test_gradcheck(example: tuple[Tensor, Tensor, Tensor], dice_weight: float) -> None:
    logits, labels, valid = example
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: segmentation_loss(x, labels, valid, dice_weight=dice_weight), (logits,)
    )


def enlarged(plane: list[list[float]], times: int) -> list[list[float]]:
    """Bilinear, between the centres of pixels; beyond the outermost centres it is constant."""

    def at(place: int, count: int) -> tuple[int, int, float]:
        x = min(max((place + 0.5) / times - 0.5, 0), count - 1)
        return int(x), min(int(x) + 1, count - 1), x - int(x)

    rows = []
    for y in range(times * len(plane)):
        top, bottom, down = at(y, len(plane))
        row = []
        for x in range(times * len(plane[0])):
            left, right, along = at(x, len(plane[0]))
            above, below = ((1 - along) * plane[j][left] + along * plane[j][right] for j in (top, bottom))
            row.append((1 - down) * above + down * below)
        rows.append(row)
    return rows


def test_cross_entropy_by_loops(example: tuple[Tensor, Tensor, Tensor]) -> None:
    """Mean of minus the logarithm of the probability that soft aggregation gives to the true label."""
    logits, labels, valid = example
    total, count = 0.0, 0
    for b in range(B):
        for t in range(T):
            planes = [enlarged(logits[b, t, o].tolist(), 4) for o in range(O)]
            for y, row in enumerate(labels[b, t].tolist()):
                for x, label in enumerate(row):
                    alone = [1 / (1 + math.exp(-plane[y][x])) for plane in planes]
                    odds = [p / (1 - p) for p in (math.prod(1 - p for p in alone), *alone)]
                    total -= math.log(odds[label] / sum(odds))
                    count += 1
    assert count == 16 * H * W * B * T
    found = segmentation_loss(logits, labels, valid, dice_weight=0).item()
    assert found == pytest.approx(total / count, rel=1e-12)


def test_right_is_zero_and_wrong_is_large(example: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, valid = example
    right = perfect(labels)
    assert segmentation_loss(right, labels, valid) == pytest.approx(0, abs=1e-3)
    assert segmentation_loss(-right, labels, valid) > 5
    swapped = torch.where(labels > 0, 3 - labels, 0)
    assert segmentation_loss(right, swapped, valid) > 5


def test_better_is_lower(example: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, valid = example
    losses = [float(segmentation_loss(perfect(labels, c), labels, valid)) for c in (0.0, 1.0, 3.0, 9.0)]
    assert losses == sorted(losses, reverse=True)


def test_absent_objects_change_nothing(example: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, _ = example
    labels = labels.clamp(0, 1)
    alone = segmentation_loss(logits[:, :, :1], labels, torch.ones((B, 1), dtype=torch.bool))
    padded = logits.clone()
    padded[:, :, 1] = ABSENT_LOGIT
    valid = torch.tensor([[True, False]] * B)
    assert segmentation_loss(padded, labels, valid) == pytest.approx(float(alone), abs=1e-6)
    # Counted as existing, the absent object is perfectly empty and would halve the dice term.
    assert segmentation_loss(padded, labels, torch.ones((B, O), dtype=torch.bool)) < alone - 0.01


def test_an_object_out_of_view_is_no_error() -> None:
    labels = torch.zeros((1, 1, 8, 8), dtype=torch.int64)
    valid = torch.ones((1, 1), dtype=torch.bool)
    empty = torch.full((1, 1, 1, 2, 2), -30.0)
    assert segmentation_loss(empty, labels, valid) == pytest.approx(0, abs=1e-4)


def test_precision(example: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, valid = example
    exact = segmentation_loss(logits, labels, valid)
    assert exact.dtype == torch.float64
    half = segmentation_loss(logits.bfloat16(), labels, valid)
    assert half.dtype == torch.float32
    assert half == pytest.approx(float(exact), rel=0.02)
