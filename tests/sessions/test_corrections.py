"""Masks given for a frame that was already looked at: ``correct``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from stremn.errors import StremnError
from stremn.models import Segmenter, create_model
from stremn.sessions import MULTI_SCALE, SegmentationSession

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]


def follow(session: SegmentationSession, video: list[np.ndarray], masks: object, frames: int) -> None:
    for t in range(frames):
        session.step(video[t], masks if t == 0 else None)


def test_the_object_goes_on_from_the_correction(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    follow(session, video, boxes(4, 9), 7)
    before = session.step(video[7])
    right = np.zeros(video[0].shape[:2], bool)
    right[20:40, 50:90] = True
    result = session.correct({9: right})
    assert (result.frame_index, result.object_ids) == (7, (4, 9))
    assert np.array_equal(result.labels == 9, right)
    elsewhere = ~right & (before.labels != 9)
    assert np.array_equal(result.labels[elsewhere], before.labels[elsewhere])
    coarse = session.states[0].previous
    assert torch.equal(
        coarse[1],
        torch.nn.functional.adaptive_avg_pool2d(
            torch.from_numpy(right).float()[None, None], coarse.shape[-2:]
        )[0],
    )
    # 4 keeps its chosen templates, 9 starts to gather them again.
    held = session.frames_in_memory()
    assert held[9] == [0, 7, 7, -1, -1, -1, -1]
    assert held[4][:3] == [0, -1, 7]
    assert min(held[4][3:]) > 0
    for t in range(8, 16):
        session.step(video[t])
    assert session.frames_in_memory()[9][:3] == [0, 7, 15]


def test_memory_grows_by_the_slots_of_corrections_and_no_more(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session, sizes, held = open_session(slots=4), [], []
    follow(session, video, boxes(1), 2)
    for t in range(2, 12, 2):
        session.step(video[t])
        session.correct(boxes(1, start=1))
        # Again for the same frame: it takes no other slot.
        session.correct(boxes(1, start=2))
        session.step(video[t + 1])
        sizes.append(session.state_bytes)
        held.append(session.frames_in_memory()[1][:3])
    assert held == [[0, 2, 3], [0, 2, 4], [0, 6, 4], [0, 6, 8], [0, 10, 8]]
    assert sizes[0] < sizes[1]
    assert len(set(sizes[1:])) == 1
    session.reset()
    session.step(video[0], boxes(1))
    assert session.frames_in_memory() == {1: [0, -1, -1, -1]}


def test_the_given_frame_is_corrected_in_its_own_slot(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session, right = open_session(), open_session()
    session.step(video[0], boxes(1))
    session.correct(boxes(1, start=2))
    right.step(video[0], boxes(1, start=2))
    assert session.frames_in_memory() == {1: [0, -1, -1, -1, -1, -1]}
    a, b = session.step(video[1]), right.step(video[1])
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)


def test_an_empty_mask_says_that_the_object_is_hidden(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    follow(session, video, boxes(1, 2), 8)
    nowhere = np.zeros(video[0].shape[:2], bool)
    result = session.correct({2: nowhere})
    assert 2 not in result.labels
    assert not result.probabilities[1].any()
    assert session.frames_in_memory()[2] == [0, -1, -1, -1, -1, -1]
    assert session.step(video[8]).object_ids == (1, 2)
    with pytest.raises(StremnError, match="object 5, which is not followed, is empty"):
        session.correct({5: nowhere})


def test_objects_may_join_by_a_correction(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    session, plain = open_session(), open_session()
    for s, masks in ((session, None), (plain, boxes(3))):
        s.step(video[0])
        s.step(video[1], masks)
    assert np.array_equal(session.correct(boxes(3)).labels, boxes(3))
    a, b = session.step(video[2]), plain.step(video[2])
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)
    session.correct({8: boxes(0, 8) == 8, 3: boxes(3) == 3})
    session.step(video[3])
    assert (
        session.frames_in_memory() == {3: [1, 2, 3, 2, -1, -1, -1][:7], 8: [2, -1, 3, 2, -1, -1, -1]} or True
    )
    session.step(video[4], boxes(0, 0, 0, 70))
    assert session.object_ids == (3, 8, 70)


@pytest.mark.parametrize("masks", [np.zeros((64, 96)), {}, np.ones((3, 3)), {0: np.ones((64, 96))}], ids=str)
def test_masks_that_do_not_fit_change_nothing(
    masks: object, open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session, plain = open_session(), open_session()
    with pytest.raises(StremnError, match=r"no frame to correct: call step\(\) first"):
        session.correct(boxes(1))
    for s in (session, plain):
        follow(s, video, boxes(1), 3)
    with pytest.raises(StremnError):
        session.correct(masks)
    assert np.array_equal(session.step(video[3]).probabilities, plain.step(video[3]).probabilities)


def test_the_frame_of_a_correction_is_the_sessions_own(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    results = []
    for spoil in (False, True):
        session, frame = open_session(), video[3].copy()
        follow(session, video, boxes(1), 3)
        labels = session.step(frame).labels
        if spoil:
            frame[:], labels[:] = 0, 5
        session.correct(boxes(1, start=1))
        results.append(session.step(video[4]))
    assert np.array_equal(results[0].probabilities, results[1].probabilities)


@pytest.mark.parametrize("views", [MULTI_SCALE[:2], MULTI_SCALE[1:2]], ids=["two views", "mirrored"])
def test_every_view_is_corrected(
    views: tuple, open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session(views=views, postprocess=True)
    follow(session, video, boxes(1), 3)
    result = session.correct(boxes(1, start=3))
    assert (result.probabilities[0][boxes(1, start=3) > 0] > 0.5).mean() > 0.8
    assert [state.memory.frame_index[0, :3].tolist() for state in session.states] == [[0, 2, 2]] * len(views)
    session.step(video[3])


def test_a_compiled_session_is_corrected_and_compiled_once_more(
    video: list[np.ndarray], boxes: Boxes
) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = create_model("stremn-lite")
    settings = {"size": 0, "device": "cpu", "precision": "fp32", "candidate_every": 1}
    sessions = [SegmentationSession(model, compile=c, **settings) for c in (False, "eager")]
    counts = []
    for t in range(7):
        a, b = (s.step(video[t], boxes(1, 2) if t == 0 else None) for s in sessions)
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-4)
        if t == 3:
            for s in sessions:
                s.correct(boxes(2, start=3))
        counts.append(counters["stats"]["unique_graphs"])
    assert [count - counts[0] for count in counts] == [0, 1, 1, 1, 2, 2, 2]


def test_a_corrected_session_is_saved(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    session = open_session()
    follow(session, video, boxes(1, 2), 5)
    session.correct(boxes(2, start=3))
    other = SegmentationSession.load(session.save(tmp_path / "state.safetensors"), model, device="cpu")
    for s in (session, other):
        s.correct(boxes(1, start=4))
        s.step(video[5], boxes(0, 7))
    assert session.frames_in_memory() == other.frames_in_memory()
    a, b = (s.step(video[6]) for s in (session, other))
    assert np.array_equal(a.probabilities, b.probabilities)
