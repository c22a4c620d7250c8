"""What the last frames of a generated clip show was shown before, and no two frames tell it."""

import numpy as np
import pytest
import torch

from stremn.data import ClipRequest, MemoryClips
from stremn.data.prediction.recall import RECALLED
from stremn.tables.baselines import BASELINES

KINDS = [*RECALLED]
OBSERVED, FRAMES = 30, 40


def clip(number: int, size: int = 64, frames: int = FRAMES, *, grey: bool = False) -> np.ndarray:
    """``(T, h, w, C)`` uint8."""
    found = MemoryClips(2, grey=grey)[ClipRequest(number, frames, size)].frames
    return (found * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def numbers(kind: str, count: int = 8) -> range:
    first = KINDS.index(kind)
    return range(first, first + count * len(KINDS), len(KINDS))


@pytest.mark.parametrize("grey", [False, True])
def test_a_period_before_the_figure_was_the_same(grey: bool) -> None:
    periods = set()
    for number in numbers("periodic"):
        frames = clip(number, grey=grey)
        # A pixel is as it was, or went by with the background by one a frame, or was behind the figure.
        known = []
        for period in range(1, 15):
            now, before = frames[20 + period :], frames[20:-period]
            passed = [np.roll(before, step * period, axis=2) for step in (-1, 1)]
            shares = [((now == before) | (now == other)).all(axis=-1)[..., 20:-20].mean() for other in passed]
            known.append(max(shares))
        found = [p for p, share in enumerate(known, 1) if share > max(known) - 0.02]
        assert 5 <= found[0] <= 10
        assert set(found) <= {found[0], 2 * found[0]}
        periods.add(found[0])
    assert len(periods) > 2


@pytest.mark.parametrize("grey", [False, True])
def test_the_camera_comes_back_the_way_it_went(grey: bool) -> None:
    for number in numbers("panning"):
        frames = clip(number, grey=grey)
        for t in range(18):
            np.testing.assert_array_equal(frames[39 - t], frames[t])
        # What comes in after the last observed frame was out of sight for twenty frames.
        assert len({frame.tobytes() for frame in frames[:18]}) == 18


def test_what_is_uncovered_is_what_was_covered() -> None:
    for number in numbers("uncovering"):
        frames = clip(number)
        gone = (frames == frames[0]).all(axis=-1)
        covered = ~gone[8:25].any(axis=0)
        assert covered.mean() > 0.08
        # All but the rim of the thing is there again, to the bit, and much of it after the observed frames.
        assert gone[FRAMES - 1][covered].mean() > 0.9
        late = gone[FRAMES - 1] & ~gone[8:OBSERVED].any(axis=0)
        assert late.mean() > 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_neither_copying_nor_optical_flow_knows_it(kind: str) -> None:
    for number in numbers(kind, 3):
        frames = clip(number)
        for foresee in BASELINES.values():
            found = foresee(frames[:OBSERVED], FRAMES - OBSERVED)
            error = (found.astype(float) - frames[OBSERVED:]) ** 2
            assert 10 * np.log10(255**2 / error.mean()) < 25


def test_a_clip_depends_on_seed_and_number_only() -> None:
    for number in range(3):
        whole = clip(number, 40)
        np.testing.assert_array_equal(clip(number, 40, 7), whole[:7])
        np.testing.assert_array_equal(clip(number, 40), whole)
        assert not np.array_equal(clip(number + 3, 40), whole)
    other = MemoryClips(3)[ClipRequest(0, 2, 40)].frames
    assert not torch.equal(other, MemoryClips(2)[ClipRequest(0, 2, 40)].frames)


@pytest.mark.parametrize("size", [8, 33, 200])
def test_any_size_and_length(size: int) -> None:
    for number in range(3):
        assert clip(number, size, 3).shape == (3, size, size, 3)
        assert clip(number, size, 3, grey=True).shape == (3, size, size, 1)
    assert len({frame.tobytes() for frame in clip(1, 8, 130)}) == 18
