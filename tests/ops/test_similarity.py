"""Laws of the update-key similarity, Eq. (1)."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stremn.ops import update_similarity

SEED = st.integers(0, 2**31)
SIZE = st.integers(1, 5)


def _keys(seed: int, objects: int, slots: int, n: int, m: int, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    candidate = torch.randn(objects, n, channels, dtype=torch.float64, generator=generator)
    return candidate, torch.randn(objects, slots, m, channels, dtype=torch.float64, generator=generator)


def _naive(candidate: Tensor, slots: Tensor) -> Tensor:
    """Eq. (1) by loops."""
    scores = torch.zeros(slots.shape[:2], dtype=torch.float64)
    for o, bank in enumerate(slots):
        for i, slot in enumerate(bank):
            best = [max(float(u @ v / (u.norm() * v.norm())) for v in slot) for u in candidate[o]]
            scores[o, i] = sum(best) / len(best)
    return scores


@settings(max_examples=25, deadline=None)
@given(SEED, SIZE, SIZE, SIZE, SIZE, SIZE, st.sampled_from([1, 2, 3, 100]))
def test_equals_the_formula_by_loops_at_any_block(
    seed: int, objects: int, slots: int, n: int, m: int, channels: int, block: int
) -> None:
    candidate, bank = _keys(seed, objects, slots, n, m, channels)
    scores = update_similarity(candidate, bank, block=block)
    torch.testing.assert_close(scores, _naive(candidate, bank))
    assert (scores.abs() <= 1 + 1e-12).all()


@settings(max_examples=25, deadline=None)
@given(SEED, SIZE, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_neither_place_nor_length_of_a_key_matters(seed: int, slots: int, a: float, b: float) -> None:
    candidate, bank = _keys(seed, 2, slots, 4, 5, 3)
    generator = torch.Generator().manual_seed(seed)
    moved = bank[:, :, torch.randperm(5, generator=generator)] * b
    turned = candidate[:, torch.randperm(4, generator=generator)] * a
    torch.testing.assert_close(update_similarity(turned, moved), update_similarity(candidate, bank))


def test_a_template_is_most_similar_to_its_own_deformation() -> None:
    candidate, bank = _keys(0, 2, 3, 6, 6, 4)
    bank[:, 1] = candidate.flip(1)
    scores = update_similarity(candidate, bank)
    torch.testing.assert_close(scores[:, 1], torch.ones(2, dtype=torch.float64))
    assert scores.argmax(dim=1).tolist() == [1, 1]


def test_the_mean_is_over_the_candidate_and_the_maximum_over_the_slot() -> None:
    # One place of the candidate is found in the slot, the other is at a right angle to all of it.
    candidate = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    slot = torch.tensor([[[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]]])
    assert update_similarity(candidate, slot).item() == 0.5
    assert update_similarity(slot[:, 0], candidate.unsqueeze(1)).item() == 1.0


def test_an_empty_slot_scores_zero_and_its_gradient_is_finite() -> None:
    candidate, bank = _keys(0, 1, 2, 3, 3, 4)
    bank[:, 1] = 0
    candidate.requires_grad_()
    bank.requires_grad_()
    scores = update_similarity(candidate, bank)
    scores.sum().backward()
    assert scores[0, 1] == 0
    assert candidate.grad is not None
    assert bank.grad is not None
    assert candidate.grad.isfinite().all()
    assert bank.grad.isfinite().all()
