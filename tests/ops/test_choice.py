"""Laws of the discrete choice, Eq. (2) and (3)."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.ops import gumbel_softmax, sample_gumbel, straight_through

ROWS = st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(ROWS, ROWS, st.floats(0.2, 5))
def test_gumbel_softmax_is_equation_3(
    scores: list[list[float]], noise: list[list[float]], tau: float
) -> None:
    rows = min(len(scores), len(noise))
    s, g = (torch.tensor(x[:rows], dtype=torch.float64) for x in (scores, noise))
    soft = gumbel_softmax(s, g, tau=tau)
    for o in range(rows):
        terms = [math.exp((scores[o][i] + noise[o][i]) / tau) for i in range(3)]
        assert soft[o].tolist() == pytest.approx([term / sum(terms) for term in terms])


@settings(max_examples=50, deadline=None)
@given(ROWS, st.floats(0.2, 5))
def test_the_gradient_of_the_one_hot_choice_is_that_of_equation_3(
    scores: list[list[float]], tau: float
) -> None:
    """The derivative of weight i by score j is ``a_i ([i = j] - a_j) / τ``."""
    s = torch.tensor(scores, dtype=torch.float64).requires_grad_()
    noise = sample_gumbel(s.detach(), torch.Generator().manual_seed(2))
    probe = [0.3, -1.1, 0.7]
    hard = straight_through(gumbel_softmax(s, noise, tau=tau))
    (hard * torch.tensor(probe, dtype=torch.float64)).sum().backward()
    assert s.grad is not None
    for row, g, one_hot, gradient in zip(scores, noise.tolist(), hard.tolist(), s.grad.tolist()):
        noisy = [(x + y) / tau for x, y in zip(row, g)]
        assert one_hot == [float(i == noisy.index(max(noisy))) for i in range(3)]
        terms = [math.exp(x) for x in noisy]
        a = [term / sum(terms) for term in terms]
        expected = [sum(probe[i] * a[i] * ((i == j) - a[j]) for i in range(3)) / tau for j in range(3)]
        assert gradient == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_without_noise_it_is_the_softmax_and_an_excluded_slot_gets_nothing() -> None:
    scores = torch.tensor([[0.3, -math.inf, 1.2]])
    soft = gumbel_softmax(scores, torch.tensor([[0.1, 9.0, 0.2]]))
    assert soft[0, 1] == 0
    assert soft.sum().item() == pytest.approx(1)
    torch.testing.assert_close(gumbel_softmax(scores), scores.softmax(dim=-1))


@pytest.mark.parametrize("tau", [0, -1])
def test_a_temperature_that_is_not_positive_is_refused(tau: float) -> None:
    with pytest.raises(ValueError, match="tau"):
        gumbel_softmax(torch.zeros(1, 2), tau=tau)


def test_gumbel_noise_has_the_moments_of_gumbel_0_1() -> None:
    noise = sample_gumbel(torch.zeros(200_000), torch.Generator().manual_seed(0))
    # Five standard errors of 200,000 draws: the mean's is 1.28 / 447, the variance's 1.64 · 2.1 / 447.
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.0145)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.04)
    # Gumbel is skewed to the right; its mirror image has the same variance.
    assert (noise < 0).double().mean().item() == pytest.approx(math.exp(-1), abs=0.0055)


def test_the_same_seed_gives_the_same_noise_and_the_next_draw_differs() -> None:
    generator = torch.Generator().manual_seed(5)
    first, second = (sample_gumbel(torch.zeros(4), generator) for _ in range(2))
    assert torch.equal(first, sample_gumbel(torch.zeros(4), torch.Generator().manual_seed(5)))
    assert not torch.equal(first, second)


def test_a_noisy_choice_falls_on_each_slot_as_often_as_the_softmax_says() -> None:
    scores = torch.tensor([0.9, 0.1, -0.7, 0.4]).expand(40_000, 4)
    noise = sample_gumbel(scores.contiguous(), torch.Generator().manual_seed(1))
    shares = straight_through(gumbel_softmax(scores, noise)).mean(dim=0)
    # Five standard errors of 40,000 draws are at most 0.0125.
    torch.testing.assert_close(shares, scores[0].softmax(dim=0), atol=0.0125, rtol=0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 7), st.floats(0.01, 50))
def test_straight_through_is_one_hot_forward_and_soft_backward(
    seed: int, objects: int, slots: int, spread: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(objects, slots, generator=generator) * spread).requires_grad_()
    probe = torch.randn(objects, slots, generator=generator)
    soft = scores.softmax(dim=-1)
    hard = straight_through(soft)
    assert set(hard.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(hard.sum(dim=-1), torch.ones(objects))
    assert torch.equal(hard.argmax(dim=-1), soft.argmax(dim=-1))
    (through,) = torch.autograd.grad((hard * probe).sum(), scores, retain_graph=True)
    (direct,) = torch.autograd.grad((soft * probe).sum(), scores)
    assert torch.equal(through, direct)
