"""The online state of one video that is foreseen."""

import gc
import itertools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from prediction_sessions import after, make, open_session

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.models import Predictor, create_model, save_pretrained
from stremn.sessions import PredictionSession, SegmentationSession


@pytest.mark.parametrize("size", [0, 24, 80])
def test_frames_come_back_as_they_were_given(
    predictor: Predictor, colour: list[np.ndarray], grey: list[np.ndarray], size: int
) -> None:
    for frames in (colour, grey):
        found = after(predictor, frames[:3], size=size).predict(2)
        assert found.shape == (2, *frames[0].shape)
        assert found.dtype == np.uint8
        assert found.std() > 0


def test_every_form_of_a_frame_is_the_same_frame(
    predictor: Predictor, colour: list[np.ndarray], grey: list[np.ndarray]
) -> None:
    forms: list[Callable[[np.ndarray], Any]] = [
        lambda a: a,
        Image.fromarray,
        lambda a: torch.from_numpy(a).permute(2, 0, 1) if a.ndim == 3 else torch.from_numpy(a)[None],
        lambda a: a.astype(np.float64) / 255,
        lambda a: a if a.ndim == 3 else a[:, :, None],
    ]
    for frames in (colour[:3], grey[:3]):
        results = [after(predictor, [form(f) for f in frames]).predict(1) for form in forms]
        assert all(np.array_equal(r, results[0]) for r in results)


def test_a_frame_that_is_padded_is_foreseen_as_one_with_that_border(
    predictor: Predictor, grey: list[np.ndarray]
) -> None:
    stride = predictor.stride
    below, right = -37 % stride, -51 % stride
    padded = [np.pad(f, ((0, below), (0, right)), mode="edge") for f in grey[:4]]
    whole = after(predictor, padded).predict(1)
    part = after(predictor, grey[:4]).predict(1)
    assert np.array_equal(part, whole[:, :37, :51])


def test_predicting_leaves_the_session_where_it_was(predictor: Predictor, colour: list[np.ndarray]) -> None:
    session, undisturbed = (after(predictor, colour[:4]) for _ in range(2))
    first = session.predict(5)
    assert np.array_equal(session.predict(5), first)
    assert np.array_equal(session.predict(2), first[:2])
    assert session.frame_index == 3
    assert session.frames_in_memory() == undisturbed.frames_in_memory()
    for frame in colour[4:9]:
        session.observe(frame)
        undisturbed.observe(frame)
        assert np.array_equal(session.predict(3), undisturbed.predict(3))


@pytest.mark.parametrize("policy", [n for n, p in POLICIES.items() if p.bounded])
def test_random_policies_too_are_left_where_they_were(colour: list[np.ndarray], policy: str) -> None:
    model = make("stremn-predict")
    settings = {"policy": policy, "slots": 3, "seed": 4, "sample": True}
    session, undisturbed = (after(model, colour[:6], **settings) for _ in range(2))
    assert np.array_equal(session.predict(6), session.predict(6))
    for frame in colour[6:]:
        session.observe(frame)
        undisturbed.observe(frame)
    assert session.frames_in_memory() == undisturbed.frames_in_memory()


def test_a_rollout_goes_on_for_ever_from_where_it_was_asked_for(
    predictor: Predictor, colour: list[np.ndarray]
) -> None:
    session = after(predictor, colour[:4])
    expected = session.predict(6)
    rollout = session.rollout()
    session.observe(colour[5])
    found = list(itertools.islice(rollout, 6))
    assert np.array_equal(np.stack(found), expected)
    assert not np.array_equal(session.predict(6), expected)


def test_nothing_grows_over_200_steps(predictor: Predictor) -> None:
    rng = np.random.default_rng(1)
    session = open_session(predictor)
    sizes = set()
    for _ in range(100):
        session.observe(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        sizes.add(session.state_bytes)
    assert len(sizes) == 1
    assert 0 not in sizes
    rollout, sizes = session.rollout(), set()
    next(rollout)
    gc.collect()
    before = sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())
    for _ in range(100):
        next(rollout)
        sizes.add(rollout.state_bytes)
    assert sizes == {session.state_bytes}
    gc.collect()
    assert sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()) <= before
    held = [i for i in session.frames_in_memory() if i >= 0]
    assert len(held) == len(set(held)) <= 5
    assert all(i < 100 for i in held)


def test_a_rollout_of_hundreds_of_steps_keeps_its_size_and_its_slots() -> None:
    """The newest of its templates is what it foresaw before last."""
    session = open_session(make("stremn-predict-mnist"), policy="oldest", slots=3)
    for index in range(4):
        session.observe(np.full((16, 16), 60 * index, np.uint8))
    rollout, sizes = session.rollout(), set()
    for step in range(400):
        next(rollout)
        sizes.add(rollout.state_bytes)
        # The frame of this step is seen at the next.
        assert sorted(rollout.frames_in_memory()) == [step + 1, step + 2, step + 3]
    assert sizes == {session.state_bytes}
    assert sorted(session.frames_in_memory()) == [1, 2, 3]


def test_no_frame_outlives_its_step(predictor: Predictor, colour: list[np.ndarray]) -> None:
    session = open_session(predictor)
    watched = []
    for frame in colour[:3]:
        frame = frame.copy()
        session.observe(frame)
        watched.append(weakref.ref(frame))
    del frame
    gc.collect()
    assert [ref() for ref in watched] == [None] * 3


def test_the_memory_holds_the_last_frames_under_a_queue(colour: list[np.ndarray]) -> None:
    session = open_session(make("stremn-predict"), policy="oldest")
    assert (session.frames_in_memory(), session.state_bytes, session.memory) == ([], 0, None)
    for count, frame in enumerate(colour, 1):
        session.observe(frame)
        expected = set(range(max(0, count - 5), count))
        assert set(session.frames_in_memory()) - {-1} == expected
    session.reset()
    assert (session.frame_index, session.frames_in_memory()) == (-1, [])
    session.observe(colour[0][:20])
    assert session.frames_in_memory() == [0, -1, -1, -1, -1]


def test_a_frame_of_another_size_is_refused_and_the_video_can_go_on(
    predictor: Predictor, colour: list[np.ndarray]
) -> None:
    session, undisturbed = (after(predictor, colour[:2]) for _ in range(2))
    with pytest.raises(StremnError, match=r"frame 2 is 40x37 pixels, .* 51x37: .*reset") as caught:
        session.observe(colour[2][:, :40])
    assert "\n" not in str(caught.value)
    for s in (session, undisturbed):
        s.observe(colour[2])
    assert np.array_equal(session.predict(1), undisturbed.predict(1))


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda s, f: s.predict(1), "nothing was observed"),
        (lambda s, f: s.rollout(), "nothing was observed"),
        (lambda s, f: (s.observe(f), s.predict(0)), "horizon of 0"),
        (lambda s, f: (s.observe(f), s.predict(2.0)), "horizon of 2.0"),
        (lambda s, f: (s.observe(f), s.predict("3")), "horizon of 3"),
        (lambda s, f: s.observe(f[None]), r"a frame must be \(H, W, 3\)"),
        (lambda s, f: s.observe(f.astype(np.int32)), "uint8"),
        (lambda s, f: s.observe(f[:0]), r"a frame must be"),
        (lambda s, f: s.observe(f[:, :, :2]), r"a frame must be"),
    ],
)
def test_bad_input_is_one_line(
    colour: list[np.ndarray], use: Callable[[PredictionSession, np.ndarray], Any], words: str
) -> None:
    session = open_session(make("stremn-motion"))
    with pytest.raises(StremnError, match=words) as caught:
        use(session, colour[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("stremn-predict", {"slots": 0}, "slots"),
        ("stremn-predict", {"policy": "best"}, "unknown policy 'best'"),
        ("stremn-predict", {"size": -1}, "size must be .* from 0 to 16384, not -1"),
        ("stremn-predict", {"precision": "int8"}, "int8"),
        ("stremn-predict", {"device": "abacus"}, "abacus"),
        ("convlstm", {"slots": 4}, "no memory slots"),
        ("predrnn", {"policy": "oldest"}, "no memory slots"),
        ("predrnn", {"sample": True}, "no choice"),
        ("predrnn", {"readout": False}, "no memory slots to read"),
        ("stremn-predict", {"readout": 0}, "readout must be True or False"),
    ],
)
def test_bad_settings_are_one_line(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(StremnError, match=words) as caught:
        open_session(make(name), **settings)
    assert "\n" not in str(caught.value)


def test_each_task_refuses_the_models_and_sessions_of_the_other(
    colour: list[np.ndarray], tmp_path: Path
) -> None:
    predictor, segmenter = make("stremn-predict"), create_model("stremn-lite").eval()
    weights = save_pretrained(predictor, tmp_path / "weights.safetensors")
    with pytest.raises(StremnError, match="MemoryPredictor where a Segmenter is needed"):
        SegmentationSession(str(weights), device="cpu")
    with pytest.raises(StremnError, match="LiteSegmenter where a Predictor is needed"):
        PredictionSession(segmenter)  # type: ignore[arg-type]
    state = after(predictor, colour[:2]).save(tmp_path / "state.safetensors")
    with pytest.raises(StremnError, match=r"use one that SegmentationSession\.save wrote"):
        SegmentationSession.load(state, segmenter)
    other = SegmentationSession(segmenter, device="cpu").save(tmp_path / "other.safetensors")
    with pytest.raises(StremnError, match=r"use one that PredictionSession\.save wrote"):
        PredictionSession.load(other, predictor)


def test_a_grey_model_sees_luma_and_a_colour_model_grey(
    colour: list[np.ndarray], grey: list[np.ndarray]
) -> None:
    one = make("stremn-predict-mnist")
    assert one.config.channels == 1
    found = after(one, colour[:3]).predict(1)
    assert (found[..., 0] == found[..., 1]).all()
    assert (found[..., 0] == found[..., 2]).all()
    spread = [np.repeat(f[:, :, None], 3, axis=2) for f in grey[:3]]
    for model in (one, make("stremn-predict")):
        as_grey, as_colour = after(model, grey[:3]), after(model, spread)
        assert as_grey.predict(1).shape == (1, 37, 51)
        luma = as_colour.predict(1) @ np.array([0.299, 0.587, 0.114])
        assert np.abs(luma - as_grey.predict(1)).max() <= 1
