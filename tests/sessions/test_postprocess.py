"""V6: only far parts are taken away, and nothing is ever added."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stremn.sessions.postprocess import REACH, drop_far

maps = arrays(np.uint8, (12, 16), elements=st.sampled_from([0, 0, 0, 0, 1, 2]))
reaches = st.floats(0, 4)


def parts(mask: np.ndarray) -> list[np.ndarray]:
    count, numbered = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [numbered == i for i in range(1, count)]


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """Smallest distance between pixels of two masks."""
    places = [np.argwhere(mask).astype(float) for mask in (a, b)]
    return float(np.sqrt(((places[0][:, None] - places[1]) ** 2).sum(-1)).min())


@given(maps, maps, reaches)
def test_each_part_stays_or_goes_as_a_whole_by_its_distance(
    labels: np.ndarray, previous: np.ndarray, reach: float
) -> None:
    kept = drop_far(labels, previous, reach)
    assert ((kept == labels) | (kept == 0)).all()
    for object_id in (1, 2):
        before = previous == object_id
        found = parts(labels == object_id)
        stays = [{bool(v) for v in kept[part]} for part in found]
        assert all(len(s) == 1 for s in stays)
        if not before.any():
            assert all(s == {True} for s in stays)
            continue
        limit = max(1.5, reach * math.sqrt(before.sum()))
        gaps = [gap(part, before) for part in found]
        # The exact bound is left to rounding.
        if any(abs(distance - limit) < 1e-3 for distance in gaps):
            continue
        near = sum(int(part.sum()) for part, distance in zip(found, gaps) if distance < limit)
        for part, distance, stay in zip(found, gaps, stays):
            assert stay == {distance < limit or part.sum() > near}


@given(maps, maps, reaches)
def test_no_object_is_taken_away_altogether(labels: np.ndarray, previous: np.ndarray, reach: float) -> None:
    kept = drop_far(labels, previous, reach)
    assert set(np.unique(kept)) - {0} == set(np.unique(labels)) - {0}
    for object_id in set(np.unique(labels)) - {0}:
        largest = max(int(part.sum()) for part in parts(labels == object_id))
        assert (kept == object_id).sum() >= largest


def test_a_speck_left_behind_does_not_hide_the_object() -> None:
    previous = np.zeros((40, 200), np.uint8)
    previous[10:12, 0:2] = 5
    labels = previous.copy()
    labels[20:30, 150:160] = 5
    labels[35, 190] = 5
    kept = drop_far(labels, previous)
    assert (kept[20:30, 150:160] == 5).all()
    assert kept[35, 190] == 0


@given(maps, maps, reaches)
def test_a_part_that_touches_the_previous_mask_stays(
    labels: np.ndarray, previous: np.ndarray, reach: float
) -> None:
    kept = drop_far(labels, previous, reach)
    for object_id in (1, 2):
        around = cv2.dilate((previous == object_id).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        for part in parts(labels == object_id):
            if (part & around).any():
                assert (kept[part] == object_id).all()


@given(maps, maps, reaches)
def test_twice_is_once_and_the_input_is_left_alone(
    labels: np.ndarray, previous: np.ndarray, reach: float
) -> None:
    copies = labels.copy(), previous.copy()
    kept = drop_far(labels, previous, reach)
    assert np.array_equal(drop_far(kept, previous, reach), kept)
    assert np.array_equal(labels, copies[0])
    assert np.array_equal(previous, copies[1])
    assert kept is labels or not np.array_equal(kept, labels)


def test_the_distance_is_measured_in_the_size_of_the_object() -> None:
    previous = np.zeros((40, 200), np.uint8)
    previous[10:14, 0:9] = 5
    size = math.sqrt(4 * 9)
    labels = previous.copy()
    inside, outside = 8 + math.floor(REACH * size), 8 + math.floor(REACH * size) + 20
    labels[11, inside] = labels[12:15, outside] = 5
    kept = drop_far(labels, previous)
    assert kept[11, inside] == 5
    assert not kept[:, outside].any()
    assert (kept[previous == 5] == 5).all()


def test_sizes_must_be_equal() -> None:
    with pytest.raises(ValueError, match="one size"):
        drop_far(np.zeros((3, 4), np.uint8), np.zeros((4, 3), np.uint8))
