"""The pace of videos whose frames partly repeat the one before."""

import pytest
import torch

from stremn.models.pace import AHEAD, SPEEDS, UNKNOWN, followed_by, measured, paces_of


def told(*speeds: float) -> torch.Tensor:
    """Speeds of frames in their order, as the newest first."""
    newest_first = [*speeds[::-1], *[UNKNOWN] * SPEEDS][:SPEEDS]
    return torch.tensor([newest_first])


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ((UNKNOWN, 1, 2, 3, 4, 5), (1, 1, 1, 1)),
        ((UNKNOWN, 2, 2, 0, 2, 2, 0, 2), (1, 0, 1, 1, 0)),
        ((UNKNOWN, 3, 0, 0, 3, 0, 0, 3, 0), (0, 1, 0, 0, 1)),
        ((UNKNOWN, 4, 2, 2, 0, 4, 2, 2, 0, 4), (0.5, 0.5, 0, 1, 0.5)),
        ((UNKNOWN, 2, 2, 2, 0, 2, 0, 2, 2, 2), (7 / 9,) * 4),
        ((UNKNOWN, 2, 2, 2, 2, 2, 0, 0), (0, 0, 0)),
        ((UNKNOWN, 0, 0, 0, 2, 2), (1, 1, 1)),
    ],
    ids=["none", "every third", "thrice", "skipping", "irregular", "stopped", "started"],
)
def test_motion_goes_on_as_fast_as_repeats_let_it(
    speeds: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = paces_of(told(*speeds))
    assert found.shape == (1, AHEAD)
    assert found[0, : len(expected)].tolist() == pytest.approx(expected)


def test_a_repeat_is_known_by_moving_and_changing_far_less_than_frames_before() -> None:
    usual, found = torch.zeros(1, 2), []
    for speed, change in ((2.0, 0.05), (0.05, 0.01), (2.0, 0.05), (0.5, 0.01), (0.05, 0.05), (0.0, 0.0)):
        now, usual = measured(torch.tensor([speed]), torch.tensor([change]), usual)
        found.append(float(now))
    assert found == pytest.approx([2.0, 0, 2.0, 0.5, 0.05, 0])


def test_slow_motion_after_fast_is_soon_no_repeat() -> None:
    usual, found = torch.zeros(1, 2), []
    for speed, change in [(8.0, 0.2)] + 4 * [(0.5, 0.02)]:
        now, usual = measured(torch.tensor([speed]), torch.tensor([change]), usual)
        found.append(float(now))
    assert found == pytest.approx([8, 0, 0.5, 0.5, 0.5])


def test_that_the_first_frames_stood_still_but_for_noise_is_known_in_hindsight() -> None:
    speeds = told(UNKNOWN, 0.02)
    assert followed_by(torch.tensor([2.0]), speeds)[0, :4].tolist() == [2.0, 0.0, UNKNOWN, UNKNOWN]
