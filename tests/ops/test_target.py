"""Laws of the fit in closed form, told on the templates themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.ops import balanced_weights, target_fit, target_moments


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.5, 100))
def test_what_is_linear_in_the_features_is_found_whatever_the_weights_and_the_scale(
    seed: int, scale: float
) -> None:
    features, query, truth = draw(seed, 2, 40, 4), draw(seed + 1, 2, 9, 4), draw(seed + 2, 2, 4, 3)
    weights = draw(seed + 3, 2, 40).abs() + 0.1
    moments = target_moments(features * scale, features @ truth, weights)
    found = query * scale @ target_fit(moments, ridge=0)
    torch.testing.assert_close(found, query @ truth, rtol=1e-2, atol=2e-2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(1, 19))
def test_moments_of_two_halves_add_up_to_those_of_the_whole(seed: int, cut: int) -> None:
    features, targets, weights = draw(seed, 1, 20, 3), draw(seed + 1, 1, 20, 2), draw(seed + 2, 1, 20).abs()
    whole = target_moments(features, targets, weights)
    halves = [
        target_moments(features[:, part], targets[:, part], weights[:, part]) * share / 20
        for part, share in ((slice(cut), cut), (slice(cut, None), 20 - cut))
    ]
    torch.testing.assert_close(sum(halves), whole)


def test_it_is_the_minimum_of_the_weighted_squared_error_and_the_penalty() -> None:
    features, targets, weights = draw(0, 1, 30, 3), draw(1, 1, 30, 2), draw(2, 1, 30).abs()
    found = target_fit(target_moments(features, targets, weights))
    scale = (weights.unsqueeze(-1) * features.square()).mean(dim=1).squeeze(0)

    def cost(coefficients: torch.Tensor) -> torch.Tensor:
        error = weights.unsqueeze(-1) * (features @ coefficients - targets).square()
        return error.mean(dim=1).sum() + ((0.03 * scale + 1e-4).unsqueeze(-1) * coefficients.square()).sum()

    moved = [cost(found + 0.01 * draw(seed, 1, 3, 2)) for seed in range(20)]
    assert all(cost(found) < other for other in moved)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), covered=st.integers(1, 99))
def test_object_and_rest_weigh_the_same(seed: int, covered: int) -> None:
    mask = (torch.randperm(100, generator=torch.Generator().manual_seed(seed)) < covered).double()[None]
    weights = balanced_weights(mask)
    assert weights[mask > 0].sum().item() == pytest.approx(50)
    assert weights[mask == 0].sum().item() == pytest.approx(50)


def test_an_empty_mask_and_features_that_are_always_zero_give_numbers() -> None:
    mask = torch.zeros(1, 6)
    features = torch.cat([torch.zeros(1, 6, 2), torch.ones(1, 6, 1)], dim=-1)
    moments = target_moments(features, mask.unsqueeze(-1), balanced_weights(mask))
    assert (features @ target_fit(moments)).abs().max() < 1e-6


@pytest.mark.parametrize("channels", [1, 5, 64, 65, 193])
def test_products_solve_as_cholesky_does(channels: int) -> None:
    """More channels than positions: without the penalty there would be no solution."""
    features, targets = draw(0, 2, 60, channels), draw(1, 2, 60, 3)
    moments = target_moments(features * torch.logspace(-2, 2, channels), targets, draw(2, 2, 60).abs())
    exact = target_fit(moments)
    torch.testing.assert_close(target_fit(moments, method="products"), exact, rtol=1e-7, atol=1e-9)
    single = target_fit(moments.float(), method="products")
    assert (single - exact).norm() < 1e-4 * exact.norm()


def test_an_empty_memory_is_solved_by_products_too() -> None:
    assert not target_fit(torch.zeros(1, 5, 8), method="products").any()


def test_products_need_a_penalty() -> None:
    with pytest.raises(ValueError, match="penalty above 0"):
        target_fit(torch.zeros(1, 5, 8), ridge=0, method="products")
