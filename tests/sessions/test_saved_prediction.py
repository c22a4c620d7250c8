"""A prediction that is paused, saved and continued is the prediction without a pause."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prediction_sessions import after, make, open_session
from safetensors import safe_open

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.models import Predictor
from stremn.sessions import PredictionSession


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_continued_video_is_the_video(
    predictor: Predictor, colour: list[np.ndarray], tmp_path: Path, count: int, precision: str
) -> None:
    session = after(predictor, colour[:count], seed=3, precision=precision)
    path = session.save(tmp_path / "paused.safetensors")
    other = PredictionSession.load(path, predictor, device="cpu")
    assert other.state_bytes == session.state_bytes
    assert other.frame_size == session.frame_size
    for frame in colour[count : count + 3]:
        session.observe(frame)
        other.observe(frame)
        assert np.array_equal(session.predict(2), other.predict(2))
        assert session.frames_in_memory() == other.frames_in_memory()
    assert other.frame_index == session.frame_index == count + 2


@pytest.mark.parametrize("policy", [n for n, p in POLICIES.items() if p.bounded])
def test_every_policy_continues(colour: list[np.ndarray], tmp_path: Path, policy: str) -> None:
    model = make("stremn-predict")
    session = after(model, colour[:7], policy=policy, slots=3, seed=8, sample=True)
    other = PredictionSession.load(session.save(tmp_path / "s.safetensors"), model, device="cpu")
    for frame in colour[7:]:
        session.observe(frame)
        other.observe(frame)
    assert other.frames_in_memory() == session.frames_in_memory()
    assert np.array_equal(session.predict(3), other.predict(3))


def test_a_session_can_go_on_in_another_precision(
    predictor: Predictor, colour: list[np.ndarray], tmp_path: Path
) -> None:
    session = after(predictor, colour[:4])
    path = session.save(tmp_path / "full.safetensors")
    half = PredictionSession.load(path, predictor, device="cpu", precision="bf16")
    for s in (session, half):
        s.observe(colour[4])
    difference = session.predict(1).astype(int) - half.predict(1)
    assert np.abs(difference).mean() < 6


def test_saving_changes_nothing_and_the_file_is_a_copy(colour: list[np.ndarray], tmp_path: Path) -> None:
    model = make("stremn-predict")
    saved, plain = open_session(model), open_session(model)
    for frame in colour[:6]:
        saved.observe(frame)
        plain.observe(frame)
        saved.save(tmp_path / "state.safetensors")
    assert np.array_equal(saved.predict(2), plain.predict(2))
    one, two = (PredictionSession.load(tmp_path / "state.safetensors", model, device="cpu") for _ in range(2))
    for frame in colour[6:9]:
        one.observe(frame)
    for frame in colour[6:9]:
        saved.observe(frame)
        two.observe(frame)
        assert np.array_equal(saved.predict(2), two.predict(2))


def test_a_reset_session_begins_with_its_seed_again(colour: list[np.ndarray], tmp_path: Path) -> None:
    model = make("stremn-predict")
    session = after(model, colour, policy="random-drop", seed=11, slots=3)
    other = PredictionSession.load(session.save(tmp_path / "s.safetensors"), model, device="cpu")
    other.reset()
    for frame in colour:
        other.observe(frame)
    assert other.frames_in_memory() == session.frames_in_memory()


def test_the_file_is_plain_tensors_and_text(colour: list[np.ndarray], tmp_path: Path) -> None:
    session = after(make("stremn-predict"), colour[:2])
    path = session.save(tmp_path / "paused.safetensors")
    assert session.state is not None
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        facts = json.loads(json.loads(file.metadata()["stremn_prediction"])["facts"])
    assert names == {"generator"} | {f"state.{name}" for name in session.state.tensors()}
    assert {"state.memory.key", "state.memory.frame_index", "state.recent"} <= names
    assert (facts["frame_index"], facts["frame_size"], facts["grey"]) == (1, [37, 51], False)


SAMPLED = {"slots": 2, "sample": True, "seed": 3}


@pytest.fixture(scope="module")
def sampled(colour: list[np.ndarray]) -> tuple[Predictor, PredictionSession]:
    """A model whose rollouts are sampled, and a session of it that only observed."""
    model = make("stremn-motion")
    return model, after(model, colour[:10], **SAMPLED)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.sampled_from(["predict", "roll out", "save", "load", "refuse"]), max_size=8))
def test_whatever_is_asked_between_two_frames_changes_nothing(
    asked: list[str], sampled: tuple[Predictor, PredictionSession], colour: list[np.ndarray], tmp_path: Path
) -> None:
    """Predictions, their first part and a rollout agree; sampled choices follow the seed throughout."""
    model, plain = sampled
    session = open_session(model, **SAMPLED)
    for index, frame in enumerate(colour[:10]):
        session.observe(frame)
        what = asked[index] if index < len(asked) else None
        if what == "predict":
            future = session.predict(4)
            assert np.array_equal(session.predict(3), future[:3])
        elif what == "roll out":
            rollout = session.rollout()
            assert np.array_equal(np.stack([next(rollout) for _ in range(3)]), session.predict(3))
        elif what == "save":
            session.save(tmp_path / "s.safetensors")
        elif what == "load":
            path = session.save(tmp_path / "s.safetensors")
            session = PredictionSession.load(path, model, device="cpu")
        elif what == "refuse":
            with pytest.raises(StremnError, match="reset"):
                session.observe(frame[:20])
    assert session.frames_in_memory() == plain.frames_in_memory()
    assert np.array_equal(session.predict(3), plain.predict(3))
