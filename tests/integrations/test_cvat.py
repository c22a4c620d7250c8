"""CVAT's tracking function, called as CVAT's agent calls it."""

from typing import Any

import numpy as np
import pytest

cvat = pytest.importorskip("cvat_sdk.auto_annotation")

from cvat_sdk.masks import decode_mask, encode_mask  # noqa: E402
from PIL import Image  # noqa: E402

from small_data import HEIGHT, WIDTH, frame, labels  # noqa: E402
from stremn.errors import StremnError  # noqa: E402
from stremn.integrations import cvat as ours  # noqa: E402
from stremn.prompts import prompt_mask  # noqa: E402


class _Context(cvat.TrackingFunctionShapeContext):  # type: ignore[name-defined, misc]
    def __init__(self, kind: str) -> None:
        self._kind = kind

    @property
    def original_shape_type(self) -> str:
        return self._kind


@pytest.fixture(scope="module")
def tracker() -> ours.Tracker:
    return ours.create(size=128)


def _seen(tracker: ours.Tracker, index: int) -> ours.Seen:
    return tracker.preprocess_image(_Context(""), Image.fromarray(frame(index)))


def _shapes(mask: np.ndarray) -> dict[str, list[float]]:
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return {
        "mask": encode_mask(mask),
        "polygon": [left, top, right, top, right, bottom, left, bottom],
        "rectangle": [left, top, right, bottom],
    }


def _as_mask(kind: str, points: list[float]) -> np.ndarray:
    if kind == "mask":
        return decode_mask(points, image_width=WIDTH, image_height=HEIGHT)
    corners: Any = np.reshape(points, (-1, 2)).tolist()
    if kind == "rectangle":
        (left, top), (right, bottom) = corners
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return prompt_mask(frame(0), polygon=corners)


@pytest.mark.parametrize("kind", sorted(ours.Tracker.spec.supported_shape_types))
def test_shapes_of_several_objects_are_tracked_apart(tracker: ours.Tracker, kind: str) -> None:
    context, first = _Context(kind), _seen(tracker, 0)
    states = {}
    for number in (1, 2):
        shape = cvat.TrackableShape(type=kind, points=_shapes(labels(0) == number)[kind])
        states[number] = tracker.init_tracking_state(context, first, shape)
    for index in (1, 2, 3):
        seen = _seen(tracker, index)
        for number, state in states.items():
            found = tracker.track(context, seen, state)
            assert found is not None
            assert found.type == kind
            mask, truth = _as_mask(kind, found.points), labels(index) == number
            assert (mask & truth).sum() / (mask | truth).sum() > 0.7


def test_what_is_gone_is_none(tracker: ours.Tracker) -> None:
    shape = cvat.TrackableShape(type="mask", points=_shapes(labels(0) == 1)["mask"])
    state = tracker.init_tracking_state(_Context("mask"), _seen(tracker, 0), shape)
    state.remove(1)
    assert tracker.track(_Context("mask"), _seen(tracker, 1), state) is None


def test_a_shape_without_an_object_is_refused(tracker: ours.Tracker) -> None:
    shape = cvat.TrackableShape(type="rectangle", points=[-9, -9, -3, -3])
    with pytest.raises(StremnError):
        tracker.init_tracking_state(_Context("rectangle"), _seen(tracker, 0), shape)
