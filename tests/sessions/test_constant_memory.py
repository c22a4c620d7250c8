"""What a session keeps: slots and probabilities of fixed size, no frame."""

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.sessions import SegmentationSession

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]

BOUNDED = [name for name, policy in POLICIES.items() if policy.bounded]


@pytest.mark.parametrize("policy", BOUNDED)
def test_the_state_of_a_bounded_policy_has_one_size_for_ever(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, policy: str
) -> None:
    session = open_session(policy=policy, slots=4)
    sizes = set()
    for t, frame in enumerate(video):
        session.step(frame, boxes(2, 9) if t == 0 else None)
        sizes.add(session.state_bytes)
        for slots in session.frames_in_memory().values():
            assert len(slots) == 4
            # M5: the first frame stays, the latest is there, and no frame is there twice.
            assert slots[0] == 0
            assert slots[1] == (t or -1)
            held = [f for f in slots if f >= 0]
            assert len(held) == len(set(held))
            assert max(held) <= t
    assert len(sizes) == 1
    assert 0 not in sizes


def test_the_growing_memory_grows(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    session = open_session(policy="every-nth", candidate_every=3)
    sizes = []
    for t, frame in enumerate(video):
        session.step(frame, boxes(2) if t == 0 else None)
        sizes.append(session.state_bytes)
    assert sizes[-1] > 1.5 * sizes[0]
    assert sizes == sorted(sizes)
    kept = [f for f in session.frames_in_memory()[2] if f >= 0]
    # STM: the first frame, the latest, and every third between.
    assert kept == [0, 29, *range(3, 29, 3)]


@pytest.mark.parametrize("every", [1, 2, 5])
def test_only_every_nth_frame_competes(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, every: int
) -> None:
    session = open_session(policy="oldest", candidate_every=every, slots=4)
    for t, frame in enumerate(video):
        session.step(frame, boxes(1) if t == 1 else None)
    contenders = [f for f in range(2, 29) if f % every == 0]
    slots = session.frames_in_memory()[1]
    assert slots[:2] == [1, 29]
    assert sorted(slots[2:]) == contenders[-2:]


def test_objects_that_join_have_their_own_first_frame(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session(policy="oldest")
    masks = {0: boxes(1), 4: boxes(2, start=1), 5: boxes(3, start=2)}
    for t in range(8):
        session.step(video[t], masks.get(t))
    assert session.frames_in_memory() == {
        1: [0, 7, 5, 6, 3, 4],
        2: [4, 7, 5, 6, -1, -1],
        3: [5, 7, 6, -1, -1, -1],
    }


def test_no_frame_outlives_its_step(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    session = open_session()
    watched = []
    for t in range(4):
        frame = video[t].copy()
        watched.append(weakref.ref(frame))
        result = session.step(frame, boxes(1) if t == 0 else None)
        del frame
    gc.collect()
    assert [ref() is None for ref in watched] == [True] * 4
    assert result.labels.base is None or result.labels.base is not video[3]


def test_the_result_of_a_frame_is_not_changed_by_later_frames(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session, again = open_session(), open_session()
    results = [session.step(f, boxes(1) if t == 0 else None) for t, f in enumerate(video[:4])]
    for t, result in enumerate(results):
        expected = again.step(video[t], boxes(1) if t == 0 else None)
        assert np.array_equal(result.probabilities, expected.probabilities)
        assert np.array_equal(result.labels, expected.labels)


def test_a_frame_of_another_size_is_refused_and_the_video_can_go_on(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session, undisturbed = open_session(), open_session()
    for s in (session, undisturbed):
        s.step(video[0], boxes(1))
    with pytest.raises(StremnError, match=r"frame 1 is 80x64 pixels, .* 96x64: .*reset") as caught:
        session.step(video[1][:, :80])
    assert "\n" not in str(caught.value)
    assert session.frame_index == 0
    assert np.array_equal(session.step(video[1]).probabilities, undisturbed.step(video[1]).probabilities)


def test_a_mask_with_a_refused_frame_is_not_taken(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    session.step(video[0], boxes(1))
    with pytest.raises(StremnError):
        session.step(video[1][:32], boxes(1)[:32])
    assert session.object_ids == (1,)
    assert session.frames_in_memory() == {1: [0, -1, -1, -1, -1, -1]}
