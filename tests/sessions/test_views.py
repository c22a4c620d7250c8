"""V7 and V6 in a session: each view has a memory of its own; objects, pauses and resets work as with one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from stremn.errors import StremnError
from stremn.models import Segmenter
from stremn.sessions import MULTI_SCALE, ONE_VIEW, SegmentationResult, SegmentationSession, View

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]

TWO = (View(), View(1.3, flip=True))


def follow(
    session: SegmentationSession, video: list[np.ndarray], masks: dict[int, np.ndarray], frames: range
) -> list[SegmentationResult]:
    return [session.step(video[t], masks.get(t)) for t in frames]


def assert_same(a: SegmentationResult, b: SegmentationResult) -> None:
    assert a.object_ids == b.object_ids
    assert np.array_equal(a.labels, b.labels)
    assert np.array_equal(a.probabilities, b.probabilities)


def test_the_views_of_the_paper() -> None:
    assert [(v.scale, v.flip) for v in MULTI_SCALE] == [
        (scale, flip) for scale in (1.0, 1.15, 1.3, 1.5) for flip in (False, True)
    ]


def test_probabilities_are_the_mean_over_sessions_of_one_view(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    # In the frame after the masks, no view has yet been fed with what another saw.
    both = open_session(views=TWO)
    single = [open_session(views=(view,)) for view in TWO]
    for session in (both, *single):
        session.step(video[0], boxes(1, 2))
    means = [session.step(video[1]).probabilities for session in (both, *single)]
    # A plain view keeps its probabilities at a quarter of the resolution, so edges differ a little.
    assert np.abs(means[0] - (means[1] + means[2]) / 2).mean() < 0.01
    assert np.abs(means[0] - means[1]).mean() > 1e-4


def test_a_mirrored_session_sees_the_mirrored_video(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    plain, turned = open_session(views=(View(),)), open_session(views=(View(flip=True),))
    for t in range(4):
        mask = boxes(1, 2) if t == 0 else None
        a = plain.step(np.ascontiguousarray(video[t][:, ::-1]), None if mask is None else mask[:, ::-1])
        b = turned.step(video[t], mask)
        assert (a.labels[:, ::-1] == b.labels).mean() > 0.99
        # At the edges: one keeps probabilities at a quarter of the resolution, the other at the frame's.
        assert np.abs(a.probabilities[..., ::-1] - b.probabilities).mean() < 0.04


@pytest.mark.parametrize("settings", [{"views": (View(),)}, {"postprocess": 1e6}, {"views": [View(1.0)]}])
def test_what_changes_nothing_changes_no_bit(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, settings: dict
) -> None:
    plain, other = open_session(slots=4), open_session(slots=4, **settings)
    masks = {0: boxes(7, 3), 4: boxes(9, start=2)}
    for a, b in zip(*(follow(s, video, masks, range(8)) for s in (plain, other)), strict=True):
        assert_same(a, b)
    assert plain.frames_in_memory() == other.frames_in_memory()
    assert plain.state_bytes == other.state_bytes


@pytest.mark.parametrize(
    "settings",
    [{"views": TWO}, {"views": TWO, "postprocess": True, "policy": "random-drop"}, {"postprocess": 0.5}],
    ids=["two views", "two views post-processed", "post-processed"],
)
def test_objects_come_and_go_and_a_pause_changes_nothing(
    open_session: Open,
    model: Segmenter,
    video: list[np.ndarray],
    boxes: Boxes,
    tmp_path: Path,
    settings: dict,
) -> None:
    masks = {1: boxes(7, 200), 3: boxes(1, start=2), 9: boxes(90, start=3)}
    session = open_session(slots=4, seed=3, **settings)
    first = follow(session, video, masks, range(6))
    assert first[0].object_ids == ()
    assert first[-1].object_ids == (7, 200, 1)
    assert first[-1].probabilities.shape == (3, *video[0].shape[:2])
    assert (first[3].labels[boxes(1, start=2) == 1] == 1).all()
    other = SegmentationSession.load(session.save(tmp_path / "s.safetensors"), model, device="cpu")
    assert (other.settings.views, other.settings.reach) == (
        session.settings.views,
        session.settings.reach,
    )
    assert other.state_bytes == session.state_bytes
    for one in (session, other):
        one.remove(200)
    for a, b in zip(*(follow(s, video, masks, range(6, 11)) for s in (session, other)), strict=True):
        assert_same(a, b)
    assert other.object_ids == (7, 1, 90)
    for state in session.states:
        assert state.previous.shape[0] == state.memory.frame_index.shape[0] == 3
    session.reset()
    assert session.states == ()
    again = follow(session, video, masks, range(6))
    assert_same(again[-1], first[-1])


def test_every_view_has_a_memory_at_its_own_size(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session(views=MULTI_SCALE, size=64)
    follow(session, video, {0: boxes(1)}, range(3))
    positions = [state.memory.key.shape[2] for state in session.states]
    sizes = [(64, 96), (80, 112), (80, 128), (96, 144)]
    assert positions == [h // 16 * w // 16 for h, w in sizes for _ in range(2)]
    assert all(state.memory.frame_index.tolist() == [[0, 2, 1, -1, -1, -1]] for state in session.states)
    assert session.state_bytes == sum(s.memory.nbytes + 4 * s.previous.numel() for s in session.states)


def test_what_is_taken_away_is_not_remembered(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stremn.sessions.views.drop_far", lambda labels, previous, reach: np.zeros_like(labels)
    )
    for views in (ONE_VIEW, TWO):
        session = open_session(postprocess=True, views=views)
        session.step(video[0], boxes(1, 2))
        result = session.step(video[1])
        assert not result.labels.any()
        plain = open_session(views=views)
        plain.step(video[0], boxes(1, 2))
        seen = plain.step(video[1]).labels
        for place, object_id in enumerate(result.object_ids):
            mask = inner(seen == object_id)
            assert result.probabilities[place][mask].max(initial=0) < 0.5
        if views is TWO and (seen == 1).any():
            assert result.probabilities[0][seen == 1].max() == 0


def inner(mask: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours within eight pixels are all in the mask."""
    kept = mask.copy()
    for axis in (0, 1):
        for shift in range(-8, 9):
            kept &= np.roll(mask, shift, axis)
    return kept


def test_shared_features_are_the_sessions_own(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    for settings in ({}, {"views": TWO}):
        alone = open_session(policy="oldest", slots=3, **settings)
        first, second = open_session(slots=5, **settings), open_session(policy="oldest", slots=3, **settings)
        for t in range(5):
            mask = boxes(1, 2) if t == 0 else None
            features = first.encode(video[t])
            first.step(video[t], mask, features=features)
            assert_same(second.step(video[t], mask, features=features), alone.step(video[t], mask))


def test_what_a_session_refuses(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    for settings in (
        {"views": ()},
        {"views": (View(0.0),)},
        {"postprocess": -1.0},
        {"postprocess": float("nan")},
        {"views": TWO, "compile": "eager"},
        {"postprocess": True, "compile": "eager"},
    ):
        with pytest.raises(StremnError) as caught:
            open_session(**settings)
        assert "\n" not in str(caught.value)
    session = open_session(views=TWO)
    with pytest.raises(StremnError, match="1 views for a session of 2"):
        session.step(video[0], boxes(1), features=open_session().encode(video[0]))


def test_the_mean_of_equal_views_is_the_view(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    twice, thrice = open_session(views=(View(), View())), open_session(views=(View(),) * 3)
    for t in range(3):
        a, b = (s.step(video[t], boxes(1) if t == 0 else None) for s in (twice, thrice))
        assert torch.allclose(torch.from_numpy(a.probabilities), torch.from_numpy(b.probabilities), atol=1e-4)
