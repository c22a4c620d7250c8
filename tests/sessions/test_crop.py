"""Small objects that are together are followed in a crop that goes along with them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_data import frame, labels
from stremn import SegmentationSession, StremnError
from stremn.metrics import region_similarity
from stremn.models import MODELS
from stremn.sessions import MULTI_SCALE, SegmentationSettings
from stremn.sessions.crop import Crop

SIZE = 240, 400
SIDE = 14


def shown(place: tuple[int, int] | None, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A bright square over a still texture, and where it is; ``None`` is nowhere."""
    image, mask = frame(0, *SIZE), np.zeros(SIZE, np.uint8)
    image[labels(0, *SIZE) > 0] = 120
    if place is not None:
        mask[place[0] : place[0] + side, place[1] : place[1] + side] = 1
    image[mask > 0] = (240, 230, 60)
    return image, mask


def session(**changes: object) -> SegmentationSession:
    return SegmentationSession("stremn-lite", device="cpu", **changes)


def begun(frames: int = 4) -> SegmentationSession:
    """It has followed a square to the right, three pixels a frame."""
    one = session()
    for t in range(frames):
        image, mask = shown((90, 100 + 3 * t))
        one.step(image, None if t else mask)
    return one


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 226), st.integers(0, 386), st.integers(96, 200))
def test_a_crop_lies_in_the_frame_and_holds_its_object(top: int, left: int, side: int) -> None:
    mask = shown((top, left))[1] > 0
    crop = Crop(0, 0, side).around(mask)
    assert crop is not None
    assert crop.cut(mask).shape == (side, side)
    assert crop.cut(mask).sum() == mask.sum()
    assert np.array_equal(crop.paste(crop.cut(mask), SIZE), mask)


def test_an_object_is_followed_in_a_small_state() -> None:
    one, whole = session(), session(size=480)
    for t in range(6):
        image, mask = shown((90, 100 + 9 * t))
        result = one.step(image, None if t else mask)
        assert region_similarity(result.labels, mask) > 0.85
        assert region_similarity(result.probabilities[0] > 0.5, result.labels) > 0.8
    whole.step(image, mask)
    assert one.state_bytes < whole.state_bytes / 2
    assert one.frames_in_memory()[1][:2] == [0, 5]


def two(t: int, apart: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A bright square, as :func:`shown`, and a dark one below it; both to the right, three pixels a frame."""
    image, mask = shown((60, 100 + 3 * t))
    mask[60 + apart : 60 + apart + SIDE, 90 + 3 * t : 90 + 3 * t + SIDE] = 2
    image[mask == 2] = (20, 20, 90)
    return image, mask


def test_objects_that_are_together_are_followed_in_one_crop(tmp_path: Path) -> None:
    one, whole = session(), session(size=480)
    for t in range(5):
        image, mask = two(t)
        result = one.step(image, None if t else mask)
        for number in (1, 2):
            assert region_similarity(result.labels == number, mask == number) > 0.8
    whole.step(image, mask)
    assert one.state_bytes < 0.8 * whole.state_bytes
    small, other = (
        one.state_bytes,
        SegmentationSession.load(one.save(tmp_path / "one.safetensors"), device="cpu"),
    )
    image, mask = two(5)
    assert np.array_equal(one.step(image).labels, other.step(image).labels)
    one.correct({2: mask == 2})
    assert one.state_bytes > 1.3 * small
    image, mask = two(6)
    assert region_similarity(one.step(image).labels == 2, mask == 2) > 0.7


def test_where_one_of_several_is_lost_all_of_the_frame_is_looked_at() -> None:
    one, sizes = session(), []
    for t in range(11):
        image, mask = two(t, 60 if t < 3 else 150)  # beyond the crop, which the other one keeps in its place
        result = one.step(image, None if t else mask)
        sizes.append(one.state_bytes)
    assert sizes[-1] > 1.3 * sizes[2]
    assert region_similarity(result.labels == 1, mask == 1) > 0.7


def test_an_object_that_comes_back_far_away_is_found() -> None:
    one = begun()
    for _ in range(3):
        assert not one.step(shown(None)[0]).labels.any()
    image, mask = shown((200, 330))
    found = [one.step(image).labels for _ in range(2)]
    assert region_similarity(found[1], mask) > 0.8


@pytest.mark.parametrize("how", ["given", "corrected"])
def test_with_a_second_object_all_of_the_frame_is_looked_at(how: str) -> None:
    one, state = begun(), begun().state_bytes
    image, mask = shown((90, 112))
    image[190:210, 300:320] = (20, 20, 90)
    other = np.zeros(SIZE, bool)
    other[190:210, 300:320] = True
    if how == "given":
        one.step(image, {2: other})
    else:
        one.step(image)
        one.correct({2: other})
    result = one.step(image)
    assert one.state_bytes > 2 * state
    assert region_similarity(result.labels == 1, mask) > 0.7
    assert region_similarity(result.labels == 2, other) > 0.7


def test_an_object_that_grows_is_followed_in_all_of_the_frame() -> None:
    one, small = begun(), begun().state_bytes
    for side in range(20, 52, 6):
        image, mask = shown((90 - side // 4, 112), side)
        found = one.step(image).labels
    assert one.state_bytes > 2 * small
    assert region_similarity(found, mask) > 0.8


def test_a_correction_brings_the_crop_along() -> None:
    one, small = begun(), begun().state_bytes
    image, mask = shown((200, 330))
    one.step(image)
    corrected = one.correct({1: mask > 0})
    assert np.array_equal(corrected.labels, mask)
    assert region_similarity(one.step(image).labels, mask) > 0.8
    assert one.state_bytes < 2 * small


def test_a_saved_session_goes_on_where_it_looked(tmp_path: Path) -> None:
    one = begun()
    other = SegmentationSession.load(one.save(tmp_path / "one.safetensors"), device="cpu")
    for t in range(4, 7):
        image, _ = shown((90, 100 + 3 * t))
        assert np.array_equal(one.step(image).labels, other.step(image).labels)


def test_a_saved_session_goes_on_compiled_in_all_of_the_frame(tmp_path: Path) -> None:
    saved = begun().save(tmp_path / "one.safetensors")
    other = SegmentationSession.load(saved, device="cpu", compile="eager")
    image, mask = shown((90, 112))
    assert region_similarity(other.step(image).labels, mask) > 0.7


def test_after_the_object_is_removed_another_is_corrected_into_being() -> None:
    one = begun()
    one.remove(1)
    image, mask = shown((90, 112))
    one.step(image)
    one.correct({2: mask > 0})
    assert one.object_ids == (2,)
    assert region_similarity(one.step(image).labels > 0, mask) > 0.7


def test_features_of_a_whole_frame_are_of_a_whole_frame() -> None:
    image, mask = shown((90, 100))
    one, other = session(), session(size=480)
    features = other.encode(image)
    assert np.array_equal(one.step(image, mask, features=features).labels, mask)
    assert np.array_equal(
        one.step(image, features=features).labels,
        [other.step(image, mask), other.step(image, features=features)][1].labels,
    )


def test_a_size_or_much_of_the_frame_or_objects_apart_are_looked_at_whole() -> None:
    assert session().settings.crop
    for changes in ({"size": 480}, {"crop": False}, {"views": MULTI_SCALE}, {"compile": "eager"}):
        assert not session(**changes).settings.crop
    assert SegmentationSettings().resolved(MODELS["stremn-r50"]).crop is False
    assert Crop.of(shown((0, 0), 40)[1] > 0) is None
    assert Crop.of(*(two(0, 150)[1] == number for number in (1, 2))) is None
    with pytest.raises(StremnError, match="crop needs a model like stremn-lite"):
        session(crop=True, postprocess=True)
