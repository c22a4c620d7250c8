"""What a session says of itself: ``confidence`` and ``lost``."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.models import Segmenter
from stremn.sessions import SegmentationSession

Open = Callable[..., SegmentationSession]
Boxes = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def shipped() -> SegmentationSession:
    return SegmentationSession("stremn-lite", size=64, device="cpu", precision="fp32")


def scene(x: int | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on a dark texture, or the texture alone."""
    frame = np.random.default_rng(seed).integers(20, 60, (64, 96, 3), dtype=np.uint8)
    y, z = np.mgrid[:64, :96]
    mask = np.zeros((64, 96), bool) if x is None else (y - 32) ** 2 + (z - x) ** 2 < 14**2
    frame[mask] = (230, 190, 40)
    return frame, mask


def test_an_object_that_leaves_is_lost_and_one_that_stays_is_not(shipped: SegmentationSession) -> None:
    shipped.reset()
    frame, mask = scene(30)
    given = shipped.step(frame, mask.astype(np.uint8))
    assert (given.confidence, given.lost) == ({1: 1.0}, {1: False})
    for t in range(8):
        seen = shipped.step(scene(30 + 2 * t)[0])
        assert not seen.lost[1]
        assert 0.5 <= seen.confidence[1] <= 1
    for _ in range(8):
        gone = shipped.step(scene(None)[0])
    assert gone.lost[1]
    assert 0 <= gone.confidence[1] < 0.5
    back = shipped.correct({1: scene(60)[1]})
    assert (back.confidence, back.lost) == ({1: 1.0}, {1: False})
    hidden = shipped.correct({1: np.zeros((64, 96), bool)})
    assert (hidden.confidence, hidden.lost) == ({1: 0.0}, {1: True})


def test_a_saved_session_is_as_sure(
    open_session: Open, model: Segmenter, video: list[np.ndarray], boxes: Boxes, tmp_path: Path
) -> None:
    session = open_session()
    for t in range(4):
        session.step(video[t], boxes(1, 2) if t == 0 else None)
    other = SegmentationSession.load(session.save(tmp_path / "s.safetensors"), model, device="cpu")
    session.remove(1)
    other.remove(1)
    a, b = session.step(video[4]), other.step(video[4])
    assert a.confidence == b.confidence
    assert list(a.confidence) == [2]
    other.reset()
    assert other.step(video[0]).confidence == {}


def test_a_result_as_detections(open_session: Open, video: list[np.ndarray], boxes: Boxes) -> None:
    supervision = pytest.importorskip("supervision")
    session = open_session()
    assert len(session.step(video[0]).to_supervision()) == 0
    result = session.step(video[1], boxes(9, 4))
    found = result.to_supervision()
    assert isinstance(found, supervision.Detections)
    assert found.tracker_id.tolist() == found.class_id.tolist() == [4, 9]
    assert found.confidence.tolist() == [1.0, 1.0]
    assert found.data["lost"].tolist() == [False, False]
    assert found.xyxy.tolist() == [[20, 15, 59, 24], [20, 5, 59, 14]]
    for mask, object_id in zip(found.mask, found.tracker_id):
        assert np.array_equal(mask, result.labels == object_id)
    # An object without a pixel has no box.
    session.correct({9: np.zeros((64, 96), bool)})
    assert session.correct({4: boxes(4) > 0}).to_supervision().tracker_id.tolist() == [4]


def test_without_the_library_the_remedy_is_told(
    open_session: Open, video: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(StremnError, match=r"give pip install 'stremn\[supervision\]'"):
        open_session().step(video[0]).to_supervision()


def test_a_second_look_knows_nothing_but_the_given_masks(shipped: SegmentationSession) -> None:
    shipped.reset()
    frame, mask = scene(30)
    shipped.step(frame, mask.astype(np.uint8))
    features = shipped.encode(scene(50)[0])[0]

    def look() -> Tensor:
        with torch.inference_mode():
            return shipped.model.find_again(features, shipped.states[0])

    early, there = look(), torch.from_numpy(scene(50)[1])[None, None].float()
    assert early.min() >= 0
    assert early.max() <= 1
    there = shipped.model.resize(there, early.shape) > 0.5
    assert early[there].mean() > 4 * early[~there].mean()
    for t in range(6):
        shipped.step(scene(30 + 4 * t)[0])
    # Not of the later templates, nor of where the object was.
    torch.testing.assert_close(look(), early)
    # What a model without a target model does instead.
    with torch.inference_mode():
        other = Segmenter.find_again(shipped.model, features, shipped.states[0])
    assert other.shape == shipped.states[0].previous.shape
    there = torch.from_numpy(scene(50)[1])[None, None].float()
    there = shipped.model.resize(there, other.shape) > 0.5
    assert other[there].mean() > 4 * other[~there].mean()
