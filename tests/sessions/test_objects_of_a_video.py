"""Ids, new_objects, leaving, labels and probabilities."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stremn import create_model
from stremn.errors import StremnError
from stremn.models import Segmenter
from stremn.sessions import SegmentationSession

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]


def test_before_any_mask_there_is_nothing(open_session: Open, video: list[np.ndarray]) -> None:
    session = open_session()
    for t in range(3):
        result = session.step(video[t])
        assert result.frame_index == session.frame_index == t
        assert result.object_ids == ()
        assert result.labels.shape == video[0].shape[:2]
        assert not result.labels.any()
        assert result.probabilities.shape == (0, *video[0].shape[:2])
    assert session.frames_in_memory() == {}
    assert session.state_bytes == 0


def test_the_frame_with_the_mask_answers_the_mask(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    mask = boxes(254, 1, 7)
    result = open_session().step(video[0], mask)
    assert np.array_equal(result.labels, mask)
    assert result.labels.dtype == np.uint8
    for place, object_id in enumerate(result.object_ids):
        inside = result.probabilities[place][mask == object_id]
        assert inside.mean() > 0.8
        assert result.probabilities[place].sum() == pytest.approx((mask == object_id).sum(), rel=0.05)


@given(
    ids=st.lists(st.integers(1, 254), min_size=1, max_size=4, unique=True),
    events=st.lists(
        st.tuples(st.sampled_from(["nothing", "give", "remove"]), st.integers(1, 255)), min_size=2, max_size=6
    ),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ids_survive_whatever_joins_and_leaves(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, ids: list[int], events: list[tuple[str, int]]
) -> None:
    session = open_session()
    session.step(video[0], boxes(*ids))
    expected = sorted(ids)
    for t, (event, object_id) in enumerate(events, 1):
        mask = None
        if event == "remove":
            session.remove(object_id)
        if event == "give":
            mask = boxes(object_id, start=4)
        if event != "nothing":
            expected = [i for i in expected if i != object_id]
        if event == "give":
            expected.append(object_id)
        result = session.step(video[t], mask)
        assert list(result.object_ids) == list(session.object_ids) == expected
        assert list(session.frames_in_memory()) == expected
        assert set(np.unique(result.labels).tolist()) <= {0, *expected}
        assert result.probabilities.shape == (len(expected), *video[0].shape[:2])
        assert result.probabilities.dtype == np.float32
        assert (result.probabilities >= 0).all()
        assert (result.probabilities.sum(axis=0) <= 1 + 1e-4).all()
        if mask is not None:
            assert np.array_equal(result.labels == object_id, mask == object_id)


def test_the_label_is_the_most_probable_object(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    session.step(video[0], boxes(9, 3))
    result = session.step(video[1])
    background = 1 - result.probabilities.sum(axis=0, keepdims=True)
    table = np.array([0, *result.object_ids])
    likeliest = table[np.concatenate([background, result.probabilities]).argmax(axis=0)]
    # Labels come from interpolated logits, probabilities are interpolated themselves: edges may differ.
    assert (likeliest == result.labels).mean() > 0.9


def test_objects_given_together_or_one_by_one_have_the_same_memory(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    together, mapped = open_session(), open_session()
    labels = boxes(4, 8)
    a = together.step(video[0], labels)
    b = mapped.step(video[0], {4: labels == 4, 8: labels == 8})
    assert np.array_equal(a.labels, b.labels)
    assert np.array_equal(together.step(video[1]).probabilities, mapped.step(video[1]).probabilities)


@pytest.mark.parametrize("policy", ["oldest", "newest", "first-and-last", "every-nth"])
def test_the_frames_in_memory_do_not_depend_on_other_objects(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, policy: str
) -> None:
    alone, crowd = open_session(policy=policy), open_session(policy=policy)
    for t in range(12):
        alone.step(video[t], boxes(5) if t == 2 else None)
        if t == 6:
            crowd.remove([1, 77])
        mask = {0: boxes(1, start=2), 2: boxes(5), 4: boxes(200, start=3), 8: boxes(1, start=4)}.get(t)
        crowd.step(video[t], mask)
        if t >= 2:
            mine, others = alone.frames_in_memory()[5], crowd.frames_in_memory()[5]
            assert [f for f in others if f >= 0] == [f for f in mine if f >= 0]
    assert set(crowd.object_ids) == {5, 200, 1}


def test_an_object_is_computed_as_if_the_removed_one_had_never_been_there_from_then_on(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    session.step(video[0], boxes(1, 2, 3))
    (before,) = session.states
    session.remove(2)
    (after,) = session.states
    for name, tensor in after.memory.tensors().items():
        assert (tensor == before.memory.tensors()[name][[0, 2]]).all()
    assert session.object_ids == (1, 3)
    session.remove([1, 3, 99])
    assert session.states == ()
    assert session.object_ids == ()
    assert not session.step(video[1]).labels.any()


def test_an_object_given_again_starts_again(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    session.step(video[0], boxes(1, 2))
    session.step(video[1])
    result = session.step(video[2], boxes(1, start=3))
    assert result.object_ids == (2, 1)
    assert session.frames_in_memory() == {2: [0, 2, 1, -1, -1, -1], 1: [2, -1, -1, -1, -1, -1]}
    assert np.array_equal(result.labels == 1, boxes(1, start=3) == 1)


def test_what_a_new_mask_covers_is_taken_from_the_others(
    open_session: Open, video: list[np.ndarray], boxes: Boxes
) -> None:
    session = open_session()
    session.step(video[0], boxes(1))
    everything = np.full_like(boxes(), 2)
    result = session.step(video[1], everything)
    assert (result.labels == 2).all()
    assert result.probabilities[0].max() <= 1e-6


def test_two_sessions_on_one_model_do_not_disturb_each_other(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes
) -> None:
    weights = {n: t.clone() for n, t in model.state_dict().items()}
    alone = open_session()
    expected = [alone.step(f, boxes(1, 2) if t == 0 else None).probabilities for t, f in enumerate(video[:5])]
    one, other = open_session(), open_session(policy="newest", slots=3)
    other.step(video[9], boxes(40))
    for t, frame in enumerate(video[:5]):
        result = one.step(frame, boxes(1, 2) if t == 0 else None)
        other.step(video[20 - t])
        assert np.array_equal(result.probabilities, expected[t])
    assert all((t == weights[n]).all() for n, t in model.state_dict().items())


def test_reset_begins_another_video(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    session = open_session(policy="random-drop", seed=3)

    def run() -> list[np.ndarray]:
        results = [session.step(f, boxes(1) if t == 0 else None) for t, f in enumerate(video[:10])]
        return [r.probabilities for r in results]

    first = run()
    frames = session.frames_in_memory()
    session.reset()
    assert (session.frame_index, session.object_ids, session.state_bytes) == (-1, (), 0)
    assert all(np.array_equal(a, b) for a, b in zip(first, run(), strict=True))
    assert session.frames_in_memory() == frames
    session.reset()
    assert session.step(np.zeros((32, 48, 3), np.uint8)).labels.shape == (32, 48)


@pytest.mark.parametrize("name", ["stremn-r50"])
def test_the_paper_network_follows_objects_too(name: str, video: list[np.ndarray], boxes: Boxes) -> None:
    session = SegmentationSession(create_model(name), size=0, device="cpu", precision="fp32")
    for t in range(3):
        result = session.step(video[t], boxes(3, 250) if t == 0 else None)
    assert result.object_ids == (3, 250)
    # The paper's network lets every frame compete, the small one every fifth (Sec. 4.1.1, Fig. 6).
    held = [0, 2, {"stremn-r50": 1, "stremn-lite": -1}[name], -1, -1, -1]
    assert session.frames_in_memory() == {3: held, 250: held}


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((64, 96), np.uint8),
        np.ones((64, 95), np.uint8),
        np.ones((64, 96, 3), np.uint8),
        np.full((64, 96), 256, np.int64),
        np.full((64, 96), -1, np.int64),
        np.full((64, 96), 0.5),
        np.full((64, 96), np.nan),
        {},
        {0: np.ones((64, 96), bool)},
        {256: np.ones((64, 96), bool)},
        {1.5: np.ones((64, 96), bool)},
        {"cat": np.ones((64, 96), bool)},
        {3: np.zeros((64, 96), bool)},
        {3: None},
        {3: np.ones((2, 2), bool)},
        {1: np.ones((64, 96), bool), 2: np.ones((64, 96), bool)},
    ],
    ids=str,
)
def test_masks_that_cannot_be_used_change_nothing(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, mask: object
) -> None:
    session, undisturbed = open_session(), open_session()
    for s in (session, undisturbed):
        s.step(video[0], boxes(1, 2))
    with pytest.raises(StremnError) as caught:
        session.step(video[1], mask)
    assert "\n" not in str(caught.value)
    assert session.frame_index == 0
    assert session.object_ids == (1, 2)
    a, b = session.step(video[1]), undisturbed.step(video[1])
    assert np.array_equal(a.probabilities, b.probabilities)
    assert a.frame_index == 1


def test_of_overlapping_masks_the_later_wins(open_session: Open, video: list[np.ndarray]) -> None:
    left, right = np.zeros((64, 96), bool), np.zeros((64, 96), bool)
    left[:, :60], right[:, 40:] = True, True
    result = open_session().step(video[0], {1: left, 2: right})
    assert (result.labels[:, 40:] == 2).all()
    assert (result.labels[:, :40] == 1).all()
    assert (result.probabilities.sum(axis=0) <= 1 + 1e-4).all()


def test_objects_too_small_to_be_seen_are_told(
    open_session: Open, video: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    masks = np.zeros(video[0].shape[:2], np.uint8)
    masks[5:35, 5:35] = 1
    with caplog.at_level("WARNING", "stremn"):
        open_session().step(video[0], masks)
    assert not caplog.messages
    for place in range(8):
        masks[40:44, 6 * place : 6 * place + 3] = 2 + place
    with caplog.at_level("WARNING", "stremn"):
        open_session().step(video[0], masks)
    (message,) = caplog.messages
    assert message.startswith("8 of 9 objects (2, 3, 4, 5, 6, …) have fewer than 256 pixels")
