"""Masks from boxes, points, scribbles and polygons."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn import StremnError
from stremn.metrics import region_similarity
from stremn.prompts import prompt_mask

SIZE = (64, 96)
corner = st.tuples(st.floats(-20, 116), st.floats(-20, 84))


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, np.ndarray]:
    """A red ball on a noisy green ground, and its mask."""
    image = np.random.default_rng(0).normal((60, 140, 60), 12, (*SIZE, 3)).clip(0, 255).astype(np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (45, 30), 14, 1, -1)
    image[mask > 0] = (200, 40, 30)
    return image, mask.astype(bool)


def test_a_box_a_point_or_a_scribble_shows_the_ball(ball: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = ball
    assert region_similarity(prompt_mask(image, box=(28, 13, 35, 35)), mask) > 0.9
    assert region_similarity(prompt_mask(image, points=[(45, 30), (5, 5, False)]), mask) > 0.9
    assert region_similarity(prompt_mask(image, scribble=[[(38, 30), (52, 30)]]), mask) > 0.9


def test_what_is_said_of_a_pixel_holds(ball: tuple[np.ndarray, np.ndarray]) -> None:
    image, _ = ball
    mask = prompt_mask(image, box=(28, 13, 35, 35), points=[(45, 30, False), (30, 14)])
    assert not mask[30, 45]
    assert mask[14, 30]


def test_a_point_beyond_the_box_widens_it(ball: tuple[np.ndarray, np.ndarray]) -> None:
    image, _ = ball
    mask = prompt_mask(image, box=(28, 13, 20, 35), points=[(57, 30)])
    assert mask[30, 57]
    assert not mask[:, 58:].any()


def test_points_mend_the_mask_so_far(ball: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = ball
    spilled = mask.copy()
    spilled[26:34, 50:90] = True
    bitten = mask & (np.arange(SIZE[1]) < 45)
    for before, place in ((spilled, (75, 30, False)), (bitten, (52, 30))):
        mended = prompt_mask(image, points=[place], before=before)
        assert region_similarity(mended, mask) > max(0.8, region_similarity(before, mask))
    assert not prompt_mask(image, points=[(75, 30, False)], before=spilled)[30, 75]
    alone = prompt_mask(image, points=[(45, 30)])
    assert np.array_equal(prompt_mask(image, points=[(45, 30)], before=np.zeros(SIZE, bool)), alone)


@given(st.floats(28, 31), st.floats(12, 16), st.integers(2, 3))
@settings(max_examples=5, deadline=None)
def test_prompts_scale_and_turn_with_the_image(
    ball: tuple[np.ndarray, np.ndarray], x: float, y: float, factor: int
) -> None:
    image, _ = ball
    mask = prompt_mask(image, box=(x, y, 32, 33), points=[(45, 30)])
    large = prompt_mask(
        cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST),
        box=(factor * x, factor * y, factor * 32, factor * 33),
        points=[(factor * 45, factor * 30)],
    )
    assert region_similarity(large[::factor, ::factor], mask) > 0.9
    turned = prompt_mask(image[:, ::-1], box=(96 - x - 32, y, 32, 33), points=[(95 - 45, 30)])
    assert region_similarity(turned[:, ::-1], mask) > 0.9


@given(st.lists(corner, min_size=3, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_mask_of_a_polygon_lies_within_its_bounds(polygon: list[tuple[float, float]]) -> None:
    try:
        mask = prompt_mask(np.zeros((*SIZE, 3), np.uint8), polygon=polygon)
    except StremnError:
        return  # it covers no pixel
    rows, columns = np.nonzero(mask)
    (left, top), (right, bottom) = np.min(polygon, axis=0), np.max(polygon, axis=0)
    slack = 0.2  # a pixel of the finer ones on which OpenCV draws
    assert left - slack <= columns.min() + 0.5
    assert columns.max() + 0.5 <= right + slack
    assert top - slack <= rows.min() + 0.5
    assert rows.max() + 0.5 <= bottom + slack


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, "nothing shows where the object is"),
        ({"points": [(5, 5, False)]}, "nothing shows where the object is"),
        ({"box": (10, 10, 0, 5)}, "box 10,10,0,5 is empty"),
        ({"box": (100, 10, 20, 20)}, "box 100,10,20,20 lies outside the picture of 96x64 pixels"),
        ({"box": (1, 2, 3)}, "a box is x,y,width,height in pixels"),
        ({"box": (1, 2, 3, float("nan"))}, "a box is x,y,width,height in pixels"),
        ({"points": [(96, 5)]}, "point 96,5 lies outside the picture"),
        ({"points": [(9, 5), (9, 5, False)]}, "point 9,5 is said to be on the object and beside it"),
        ({"scribble": [[(1, 1), (5, 5, False)]]}, "a scribble has points on the object and beside it"),
        ({"polygon": [(1, 1), (5, 5)]}, "a polygon of 2 corners is empty"),
        ({"polygon": [(200, 1), (250, 5), (220, 9)]}, "covers no pixel"),
        ({"polygon": [(1, 1), (5, 5), (1, 5)], "box": (1, 1, 5, 5)}, "a polygon is the mask itself"),
        ({"before": np.ones(SIZE, bool)}, "nothing shows where the mask is wrong"),
        ({"before": np.ones(SIZE, bool), "box": (1, 1, 5, 5)}, "a box or polygon shows the object anew"),
        ({"before": np.ones((9, 9), bool), "points": [(1, 1)]}, "9x9"),
        (
            {"before": np.ones(SIZE, bool), "scribble": [[(0, y, False), (95, y, False)] for y in range(64)]},
            "leave nothing of its mask",
        ),
    ],
)
def test_bad_prompts_are_refused(prompt: dict, said: str) -> None:
    with pytest.raises(StremnError, match=said):
        prompt_mask(np.zeros((*SIZE, 3), np.uint8), **prompt)
