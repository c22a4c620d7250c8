"""Laws of soft aggregation (STM)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.ops import soft_aggregation

LOGIT = st.floats(-8, 8)


def _ratio_of_odds(logits: list[float]) -> list[float]:
    """STM's formula, object by object: odds of the background and of each object, made to sum to one."""
    chances = [1 / (1 + math.exp(-x)) for x in logits]
    background = math.prod(1 - p for p in chances)
    odds = [p / (1 - p) for p in (background, *chances)]
    return [o / sum(odds) for o in odds]


@settings(max_examples=60, deadline=None)
@given(st.lists(LOGIT, min_size=1, max_size=6))
def test_softmax_of_it_is_the_ratio_of_odds(logits: list[float]) -> None:
    aggregated = soft_aggregation(torch.tensor([logits], dtype=torch.float64)).softmax(dim=1)
    assert aggregated[0].tolist() == pytest.approx(_ratio_of_odds(logits), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-13, 50), min_size=1, max_size=5))
def test_one_object_gets_the_sigmoid_of_twice_its_logit(logits: list[float]) -> None:
    logit = torch.tensor(logits, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(soft_aggregation(logit).softmax(dim=1)[:, 1:], torch.sigmoid(2 * logit))


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(4)), st.lists(LOGIT, min_size=4, max_size=4))
def test_the_order_of_objects_does_not_matter(order: list[int], logits: list[float]) -> None:
    values = torch.tensor([logits], dtype=torch.float64)
    moved = soft_aggregation(values[:, order])
    torch.testing.assert_close(moved, soft_aggregation(values)[:, [0, *(i + 1 for i in order)]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_stay_finite_in_value_and_gradient(dtype: torch.dtype) -> None:
    extremes = torch.tensor([-1e4, -20.0, 0.0, 20.0, 1e4])
    logits = torch.cartesian_prod(extremes, extremes).to(dtype).requires_grad_()
    aggregated = soft_aggregation(logits)
    torch.nn.functional.cross_entropy(aggregated, torch.arange(25) % 3).backward()
    assert aggregated.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_objects_may_lie_along_any_dimension() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for dim in range(3):
        there = soft_aggregation(logits.movedim(1, dim), dim=dim)
        torch.testing.assert_close(there.movedim(dim, 1), soft_aggregation(logits))
