"""Strokes and corners as masks, in pixels of the video."""

import numpy as np
import pytest

from small_data import frame, labels
from stremn.errors import StremnError
from stremn.studio.shapes import drawn

IMAGE = frame(0)
NOTHING = np.zeros(IMAGE.shape[:2], bool)


def test_brush_and_eraser() -> None:
    painted = drawn("brush", IMAGE, NOTHING, [[20, 30], [60, 30]], radius=5)
    rows, columns = np.nonzero(painted)
    assert np.abs(np.array([rows.min(), rows.max() + 1]) - (25, 35)).max() <= 1
    assert np.abs(np.array([columns.min(), columns.max() + 1]) - (15, 65)).max() <= 1
    assert drawn("brush", IMAGE, NOTHING, [[20, 30]], radius=5).sum() == pytest.approx(25 * np.pi, rel=0.1)
    wiped = drawn("eraser", IMAGE, painted, [[40, 0], [40, 63]], radius=3)
    assert not wiped[:, 38:42].any()
    assert wiped[30, [30, 50]].all()


def test_a_polygon_is_added() -> None:
    before = labels(0) == 1
    after = drawn("polygon", IMAGE, before, [[50, 10], [80, 10], [80, 30], [50, 30]])
    assert after[20, 65]
    assert after[before].all()


def test_a_prompt_replaces() -> None:
    found = drawn("prompt", IMAGE, labels(0) == 2, [[14, 16, 1], [60, 16, 0]], box=[1, 3, 30, 28])
    true = labels(0) == 1
    assert (found & true).sum() / (found | true).sum() > 0.85
    beside = [[2, 2, 0], [2, 30, 0], [30, 32, 0]]
    found = drawn("prompt", IMAGE, NOTHING, [], scribble=[[[8, 10, 1], [20, 22, 1]], beside])
    assert (found & true).sum() / (found | true).sum() > 0.85
    assert not found[30, 2]


def test_points_mend() -> None:
    true = labels(0) == 1
    before = true | (np.abs(np.indices(true.shape)[1] - 45) < 5)
    found = drawn("mend", IMAGE, before, [[45, 50, 0]])
    assert not found[50, 45]
    assert (found & true).sum() / true.sum() > 0.85


@pytest.mark.parametrize("radius", [-3, 0, 1e5])
def test_any_radius_and_place(radius: float) -> None:
    drawn("brush", IMAGE, NOTHING, [[-1e5, 1e5], [1e5, -1e5]], radius=radius)


def test_unknown_or_nothing() -> None:
    with pytest.raises(StremnError, match="choose from brush, eraser, polygon, prompt"):
        drawn("knife", IMAGE, NOTHING, [[1, 1]])
    with pytest.raises(StremnError, match="nothing was drawn"):
        drawn("brush", IMAGE, NOTHING, [])
    with pytest.raises(StremnError):
        drawn("polygon", IMAGE, NOTHING, [[1, 1]])
