"""Mistakes made on purpose in masks: how many, of which kind, and where."""

import pytest
import torch

from stremn.training.segmentation.segment_clip import damaged


def masks(objects: int) -> torch.Tensor:
    result = torch.zeros(objects, 1, 64, 64)
    result[..., 20:44, 24:48] = 0.9
    return result


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_is_damaged_at_a_share_of_zero() -> None:
    assert torch.equal(damaged(masks(50), 0.0, draws()), masks(50))


def test_same_draws_same_damage() -> None:
    first, second, other = (damaged(masks(8), 1.0, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_an_object_loses_or_gains_and_gains_only_beside_itself() -> None:
    before, after = masks(200), damaged(masks(200), 1.0, draws())
    assert after.min() >= 0
    assert after.max() <= 1
    lost, gained = ((change > 0).flatten(1).any(dim=1) for change in (before - after, after - before))
    assert not (lost & gained).any()
    assert lost.sum() > 40
    assert gained.sum() > 40
    far = torch.ones(64, 64, dtype=torch.bool)
    far[10:54, 14:58] = False
    assert not after[..., far].any()
    assert (after[lost].flatten(1).sum(dim=1) < before[lost].flatten(1).sum(dim=1)).all()


def test_share_is_that_of_the_objects() -> None:
    before, after = masks(2000), damaged(masks(2000), 0.3, draws())
    changed = (before != after).flatten(1).any(dim=1).float().mean()
    # A region may miss the object, so a little fewer show it.
    assert changed == pytest.approx(0.27, abs=0.06)


def test_gradients_pass_where_nothing_was_damaged() -> None:
    before = masks(4).requires_grad_()
    after = damaged(before, 1.0, draws())
    after.sum().backward()
    assert before.grad is not None
    changed = after != before
    assert changed.any()
    assert not before.grad[changed].any()
    assert set(before.grad.unique().tolist()) == {0.0, 1.0}
    assert before.grad.mean() > 0.5
