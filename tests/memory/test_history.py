"""What sat in which slot, and how old it was when a frame was looked up in it."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stremn.memory import MemoryHistory, MemoryLayout, SlotMemory, Template, get_policy


@given(frames=st.integers(1, 400), half=st.integers(1, 20), objects=st.integers(1, 3))
def test_bounded_and_evenly_spread(frames: int, half: int, objects: int) -> None:
    limit = 2 * half
    history = MemoryHistory(limit=limit)
    for t in range(frames):
        history.add(t, {i: [0, t] for i in range(1, objects + 1)})
    for moments in history.moments.values():
        kept = [t for t, _ in moments]
        assert len(kept) <= limit
        assert kept == list(range(0, frames, history.every))
        assert len(kept) >= min(frames, half)


def ages_of(policy: str, frames: int, *, slots: int = 6, every: int = 1) -> list[int]:
    """Ages above 0 that a memory of one object shows over so many frames, given in the first."""
    template = Template(*(torch.zeros(1, 1, 1) for _ in range(3)))
    memory = SlotMemory.of_first_frame(template, 0, MemoryLayout.of_slots(slots))
    history = MemoryHistory()
    history.add(0, {1: memory.frame_index[0].tolist()})
    for t in range(1, frames):
        candidate = (t - 1) % every == 0
        with torch.no_grad():
            memory = memory.update(template, t, get_policy(policy), candidate=candidate)
        history.add(t, {1: memory.frame_index[0].tolist()})
    return [age for age, count in enumerate(history.ages.tolist()) if count]


def test_ages_are_counted_before_the_frame_is_written() -> None:
    # The first and the latest frame are there by construction and are not counted (Sec. 4.3). The latest is
    # one frame old when a frame is looked up, so the four oldest-out slots hold those before it.
    assert ages_of("oldest", 40) == [2, 3, 4, 5]
    assert ages_of("oldest", 40, slots=3) == [2]
    assert max(ages_of("newest", 40)) == 38


def test_a_latest_slot_that_was_not_written_is_not_chosen() -> None:
    history = MemoryHistory()
    history.add(0, {1: [0, -1, -1]})
    history.add(1, {1: [0, 1, -1]})
    for t in range(2, 6):
        history.add(t, {1: [0, 1, -1]})
    assert not history.ages.any()


def test_an_object_that_is_given_anew_was_not_looked_up() -> None:
    history = MemoryHistory()
    history.add(5, {1: [0, 5, 3], 2: [4, 5, -1]})
    history.add(6, {1: [6, -1, -1], 2: [4, 6, 5]})
    assert not history.ages.any()
    history.add(7, {1: [6, 7, -1], 2: [4, 7, 6], 3: [7, -1, -1]})
    assert history.ages.nonzero()[0].tolist() == [2]


def test_slots_of_corrections_come_last_and_are_not_chosen() -> None:
    history = MemoryHistory()
    history.add(4, {1: [0, 4, 3]})
    history.add(5, {1: [0, 5, 5, 3]}, corrections=1)
    assert history.moments[1] == [(4, [0, 4, 3]), (5, [0, 5, 3, 5])]
    history.add(6, {1: [0, 5, 6, 3]}, corrections=1)
    assert history.ages.nonzero()[0].tolist() == [2, 3], "of frame 3 alone"


@given(st.lists(st.integers(-1, 30), min_size=1, max_size=5))
def test_old_templates_share_the_last_bin(held: list[int]) -> None:
    history = MemoryHistory(ages=10)
    history.add(31, {1: [0, 31, *held]})
    history.add(32, {1: [0, 32, *held]})
    ages = [min(32 - index, 10) for index in held if index >= 0]
    share = history.share_of_ages()
    assert share.sum() == pytest.approx(1 if ages else 0)
    for age in range(11):
        assert share[age] == pytest.approx(ages.count(age) / max(1, len(ages)))


@given(st.lists(st.lists(st.integers(-1, 5), min_size=1, max_size=3), min_size=1, max_size=30))
def test_changes_tell_every_moment(moments: list[list[int]]) -> None:
    # As in a growing memory, slots are added and never taken away.
    moments = [held + [-1] * (len(moments[0]) - len(held)) for held in sorted(moments, key=len)]
    history = MemoryHistory(limit=100)
    for frame, held in enumerate(moments):
        history.add(frame, {7: held})
    (slots,) = history.changes().values()
    for frame, held in enumerate(moments):
        known = [[index for since, index in slot.items() if since <= frame] for slot in slots]
        assert [indices[-1] for indices in known if indices] == held
    for slot in slots:
        indices = [*slot.values()]
        assert all(before != after for before, after in pairwise(indices))
