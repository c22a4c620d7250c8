"""A stream that is paused, saved and continued gives bit-identical results."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from stremn.errors import StremnError
from stremn.memory import EXACT, POLICIES
from stremn.models import Segmenter
from stremn.sessions import SegmentationResult, SegmentationSession

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]

CASES = [({"policy": name}, name) for name in POLICIES]
CASES += [({"policy": "learned", "sample": True}, "learned sampled")]
CASES += [({"slots": 2}, "two slots"), ({"precision": "bf16"}, "half precision")]


def same(a: SegmentationResult, b: SegmentationResult) -> bool:
    return (
        a.frame_index == b.frame_index
        and a.object_ids == b.object_ids
        and np.array_equal(a.labels, b.labels)
        and np.array_equal(a.probabilities, b.probabilities)
    )


@pytest.mark.parametrize("settings", [c[0] for c in CASES], ids=[c[1] for c in CASES])
def test_a_continued_stream_is_the_stream(
    open_session: Open,
    model: Segmenter,
    video: list[np.ndarray],
    boxes: Boxes,
    tmp_path: Path,
    settings: dict,
) -> None:
    # Objects join before and after the pause, and one leaves after it.
    masks = {0: boxes(7, 200), 3: boxes(1, start=2), 11: boxes(90, start=3)}
    settings = {"slots": 4, "seed": 5, **settings}
    session = open_session(**settings)
    for t in range(9):
        session.step(video[t], masks.get(t))
    path = session.save(tmp_path / "paused.safetensors")
    other = SegmentationSession.load(path, model, device="cpu")
    assert other.frames_in_memory() == session.frames_in_memory()
    for t in range(9, 16):
        if t == 13:
            session.remove(7)
            other.remove(7)
        a, b = (s.step(video[t], masks.get(t)) for s in (session, other))
        assert same(a, b)
        assert other.frames_in_memory() == session.frames_in_memory()
    assert other.object_ids == (200, 1, 90)
    assert other.state_bytes == session.state_bytes
    assert other.settings.seed == session.settings.seed
    assert [p.name for p in tmp_path.iterdir()] == ["paused.safetensors"]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_session_without_objects_is_saved_too(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path, steps: int
) -> None:
    session = open_session(policy="random-select", seed=np.int64(2))
    for t in range(steps):
        session.step(video[t])
    other = SegmentationSession.load(session.save(tmp_path / "early.safetensors"), model, device="cpu")
    assert other.frame_index == steps - 1
    assert other.frame_size == session.frame_size
    for t in range(steps, steps + 8):
        mask = boxes(3) if t == steps else None
        assert same(session.step(video[t], mask), other.step(video[t], mask))


def test_saving_changes_nothing_and_the_file_is_a_copy(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    saved, plain = open_session(), open_session()
    for t in range(6):
        mask = boxes(1) if t == 0 else None
        assert same(saved.step(video[t], mask), plain.step(video[t], mask))
        saved.save(tmp_path / "state.safetensors")
    one, two = (
        SegmentationSession.load(tmp_path / "state.safetensors", model, device="cpu") for _ in range(2)
    )
    for t in range(6, 9):
        one.step(video[t])
    for t in range(6, 9):
        assert same(saved.step(video[t]), two.step(video[t]))


def test_a_session_can_go_on_in_another_precision(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    session = open_session()
    session.step(video[0], boxes(1))
    path = session.save(tmp_path / "full.safetensors")
    half = SegmentationSession.load(path, model, device="cpu", precision="bf16")
    assert half.memory is not None
    assert half.memory.key.dtype == torch.bfloat16
    assert half.memory.frame_index.dtype == torch.int64
    # What a target model is fitted to and what was fitted are never rounded.
    exact = {name: tensor.dtype for name, tensor in half.memory.tensors().items() if name in EXACT}
    assert exact == {"moments": torch.float32, "permanent_fit": torch.float32}
    a, b = session.step(video[1]), half.step(video[1])
    assert np.abs(a.probabilities - b.probabilities).mean() < 0.02
    back = SegmentationSession.load(
        half.save(tmp_path / "half.safetensors"), model, device="cpu", precision="fp32"
    )
    back.step(video[2])


def test_a_reset_session_begins_with_its_seed_again(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    session = open_session(policy="random-drop", seed=11, slots=4)
    for t in range(12):
        session.step(video[t], boxes(1) if t == 0 else None)
    other = SegmentationSession.load(session.save(tmp_path / "s.safetensors"), model, device="cpu")
    other.reset()
    for t in range(12):
        other.step(video[t], boxes(1) if t == 0 else None)
    assert other.frames_in_memory() == session.frames_in_memory()


def test_a_state_saved_without_its_frame_goes_on(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    """As before there were corrections."""
    session = open_session()
    session.step(video[0], boxes(1))
    session._latest = None
    other = SegmentationSession.load(session.save(tmp_path / "old.safetensors"), model, device="cpu")
    with pytest.raises(StremnError, match="no frame to correct"):
        other.correct(boxes(1))
    assert same(session.step(video[1]), other.step(video[1]))


def test_the_file_is_plain_tensors_and_text(
    open_session: Open, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    session = open_session()
    session.step(video[0], boxes(1))
    session.step(video[1])
    paused = session.save(tmp_path / "paused.safetensors")
    with safe_open(paused, framework="pt") as file:
        names = set(file.keys())
        facts = json.loads(json.loads(file.metadata()["stremn_session"])["facts"])
    banks = {"key", "value", "update_key", "frame_index", "seen", "moments", "permanent_fit"}
    assert names == {"generator", "previous", "frame", "labels"} | {f"memory.{n}" for n in banks}
    assert facts["object_ids"] == [1]
    assert (facts["frame_index"], facts["frame_size"]) == (1, [64, 96])
