"""What a step trains on depends on the seed, the step and the process, and on nothing else."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_task import toy

from stremn.data import ClipRequest
from stremn.training.plan import StepSampler, draw_of_step, ema_decay, rate_share, seed_step

SHAPES = [(4, 3, 32), (4, 5, 64)]
CPU = torch.device("cpu")


def steps_of(batches: list[list[ClipRequest]], accumulate: int) -> list[list[ClipRequest]]:
    parts = range(0, len(batches), accumulate)
    return [[r for batch in batches[i : i + accumulate] for r in batch] for i in parts]


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), start=st.integers(0, 6))
def test_a_later_start_is_the_rest(seed: int, start: int) -> None:
    whole = list(StepSampler(SHAPES, 6, seed, accumulate=2))
    rest = StepSampler(SHAPES, 6, seed, start=start, accumulate=2)
    assert list(rest) == whole[2 * start :]
    assert len(rest) == len(whole) - 2 * start


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), processes=st.sampled_from([1, 2, 4]), accumulate=st.sampled_from([1, 2]))
def test_any_split_is_the_same_clips(seed: int, processes: int, accumulate: int) -> None:
    joint = list(StepSampler([(8, t, s) for _, t, s in SHAPES], 5, seed))
    split = 8 // processes // accumulate
    shapes = [(split, t, s) for _, t, s in SHAPES]
    each = [
        steps_of(
            list(StepSampler(shapes, 5, seed, accumulate=accumulate, process=p, processes=processes)),
            accumulate,
        )
        for p in range(processes)
    ]
    for step, requests in enumerate(joint):
        assert sorted(r for steps in each for r in steps[step]) == sorted(requests)


def test_no_clip_twice() -> None:
    numbers = [r.number for batch in StepSampler([(3, 4, 32), (1, 8, 32)], 50, 0) for r in batch]
    assert len(set(numbers)) == len(numbers)


def test_draws() -> None:
    def numbers(*where: int) -> tuple[float, float]:
        draw = draw_of_step(*where, CPU)
        return tuple(float(torch.rand((), generator=g)) for g in (draw.shared, draw.own))  # type: ignore[return-value]

    here = numbers(0, 5, 0, 0)
    assert numbers(0, 5, 0, 0) == here
    for part, process in ((1, 0), (0, 1)):
        there = numbers(0, 5, part, process)
        assert there[0] == here[0]
        assert there[1] != here[1]
    assert not set(numbers(0, 6, 0, 0)) & set(here)
    assert not set(numbers(1, 5, 0, 0)) & set(here)


def test_global_generators() -> None:
    seed_step(0, 3, 0)
    before = float(torch.rand(())), float(np.random.rand())
    seed_step(0, 3, 0)
    assert (float(torch.rand(())), float(np.random.rand())) == before
    seed_step(0, 3, 1)
    assert float(torch.rand(())) != before[0]


def test_schedule() -> None:
    recipe = toy(steps=100, warmup=10, final_rate=0.1)
    shares = [rate_share(step, recipe) for step in range(101)]
    assert shares[:10] == [(i + 1) / 10 for i in range(10)]
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert (shares[10], round(shares[100], 9)) == (1, 0.1)
    # A young average follows the weights, an old one its decay.
    assert ema_decay(1, toy(ema=0.999)) < 0.2
    assert ema_decay(10**6, toy(ema=0.999)) == 0.999
    assert ema_decay(1, toy(ema=0.0)) == 0
