"""Laws of J and F on pairs of masks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stremn import StremnError
from stremn.metrics import contour, contour_accuracy, contour_tolerance, region_similarity, score_frame

# No deadline: the machine may be busy.
LAW = settings(max_examples=50, deadline=None)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Pairs from blocky to noisy: what contours are sensitive to."""
    size = draw(SIZES)
    block = draw(st.integers(1, 8))
    coarse = tuple(-(-side // block) for side in size)
    pair = [np.kron(draw(hnp.arrays(bool, coarse)), np.ones((block, block), bool)) for _ in range(2)]
    return pair[0][: size[0], : size[1]], pair[1][: size[0], : size[1]]


def region_similarity_by_definition(a: np.ndarray, b: np.ndarray) -> float:
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    union = sum(x or y for x, y in pairs)
    return sum(x and y for x, y in pairs) / union if union else 1.0


def contour_by_definition(mask: np.ndarray) -> np.ndarray:
    h, w = mask.shape
    out = np.zeros((h, w), bool)
    for y in range(h):
        for x in range(w):
            below, right = min(y + 1, h - 1), min(x + 1, w - 1)
            out[y, x] = any(mask[y, x] != mask[j, i] for j in (y, below) for i in (x, right))
    return out


def contour_accuracy_by_definition(a: np.ndarray, b: np.ndarray, reach: float) -> float:
    """All distances between contour points, no image operation."""
    p, q = np.argwhere(contour_by_definition(a)), np.argwhere(contour_by_definition(b))
    if not len(p) or not len(q):
        return float(len(p) == len(q))
    near = ((p[:, None] - q[None]) ** 2).sum(-1) <= reach**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@LAW
@given(mask_pairs(), st.sampled_from([0.008, 0.05, 0.1, 1, 2, 7]))
def test_f_is_the_definition_point_by_point(pair: tuple[np.ndarray, np.ndarray], tolerance: float) -> None:
    reach = math.ceil(tolerance if tolerance >= 1 else tolerance * math.hypot(*pair[0].shape))
    expected = contour_accuracy_by_definition(*pair, reach)
    assert contour_accuracy(*pair, tolerance) == pytest.approx(expected, abs=1e-12)


@LAW
@given(mask_pairs())
def test_j_is_intersection_over_union(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    assert region_similarity(a, b) == pytest.approx(region_similarity_by_definition(a, b), abs=1e-12)


@LAW
@given(mask_pairs())
def test_contour_is_its_definition(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(contour(pair[0]), contour_by_definition(pair[0]))


@LAW
@given(mask_pairs())
def test_symmetric_bounded_and_one_on_itself(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    for measure in (region_similarity, contour_accuracy):
        assert 0 <= measure(a, b) <= 1
        assert measure(a, b) == pytest.approx(measure(b, a), abs=1e-12)
        assert measure(a, a) == 1


@LAW
@given(mask_pairs(), st.integers(0, 6), st.integers(0, 6), st.integers(10, 20))
def test_place_in_the_image_does_not_matter(
    pair: tuple[np.ndarray, np.ndarray], top: int, left: int, margin: int
) -> None:
    """Away from the edges, moving both masks together changes nothing."""
    near = [np.pad(mask, margin) for mask in pair]
    far = [np.roll(mask, (top, left), (0, 1)) for mask in near]
    assert region_similarity(*near) == region_similarity(*far)
    assert contour_accuracy(*near) == contour_accuracy(*far)


@LAW
@given(SIZES)
def test_empty_masks(size: tuple[int, int]) -> None:
    empty, full = np.zeros(size, bool), np.ones(size, bool)
    assert region_similarity(empty, empty) == contour_accuracy(empty, empty) == 1
    assert region_similarity(empty, full) == 0
    # A mask that fills the image has no contour, and so matches the contour of nothing.
    assert contour_accuracy(empty, full) == 1


@LAW
@given(mask_pairs())
def test_one_empty_mask_scores_zero(pair: tuple[np.ndarray, np.ndarray]) -> None:
    mask = np.pad(pair[0], 1)
    mask[1, 1] = True
    empty = np.zeros_like(mask)
    assert region_similarity(mask, empty) == region_similarity(empty, mask) == 0
    assert contour_accuracy(mask, empty) == contour_accuracy(empty, mask) == 0


@pytest.mark.parametrize(("size", "pixels"), [((480, 854), 8), ((240, 432), 4), ((600, 800), 8), ((2, 3), 1)])
def test_tolerance_is_a_share_of_the_diagonal(size: tuple[int, int], pixels: int) -> None:
    assert contour_tolerance(*size) == pixels


def test_contours_match_within_the_tolerance_only() -> None:
    """Squares of 200 px moved along both axes: matched while the shift's length is at most 8 px."""
    truth = np.zeros((480, 854), bool)
    truth[100:300, 100:300] = True
    for dy, dx in [(0, 8), (8, 0), (0, 9), (9, 0)]:
        score = contour_accuracy(np.roll(truth, (dy, dx), (0, 1)), truth)
        assert (score == 1) == (math.hypot(dy, dx) <= 8), (dy, dx)


def disks(rng: np.random.Generator, count: int) -> np.ndarray:
    """A label map of 96 x 128 with so many disks, later ones over earlier ones."""
    y, x = np.mgrid[:96, :128]
    labels = np.zeros(y.shape, np.uint8)
    for i in range(1, count + 1):
        top, left, radius = rng.integers((0, 0, 2), (96, 128, 40))
        labels[(y - top) ** 2 + (x - left) ** 2 <= radius**2] = i
    return labels


@pytest.mark.parametrize("seed", range(10))
def test_objects_of_label_maps_score_by_the_definition(seed: int) -> None:
    """DAVIS: contours of every object, matched within a disk of 0.008 of the diagonal, here 2 pixels."""
    rng = np.random.default_rng(seed)
    truth = disks(rng, 4)
    predicted = np.roll(truth, rng.integers(-4, 5, 2), (0, 1))
    predicted[disks(rng, 1) > 0] = rng.integers(0, 5)
    frame = score_frame(predicted, truth)
    assert frame.scores is not None
    assert frame.scores.keys() == {*np.unique(truth).tolist(), *np.unique(predicted).tolist()} - {0}
    for i, scores in frame.scores.items():
        a, b = predicted == i, truth == i
        expected = (region_similarity_by_definition(a, b), contour_accuracy_by_definition(a, b, 2))
        assert scores == pytest.approx(expected, abs=1e-12)


@LAW
@given(hnp.arrays(np.uint8, (2, 20, 30), elements=st.integers(0, 4)), st.permutations([3, 7, 254, 40]))
def test_renaming_objects_renames_their_scores(maps: np.ndarray, names: list[int]) -> None:
    table = np.array([0, *names], np.uint8)
    before, after = score_frame(*maps).scores, score_frame(*table[maps]).scores
    assert before is not None
    assert after == {int(table[i]): score for i, score in before.items()}


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int16])
def test_wider_whole_numbers_are_label_maps(dtype: type) -> None:
    mask = np.array([[0, 3], [255, 3]], np.uint8)
    assert score_frame(mask.astype(dtype), mask) == score_frame(mask, mask)


def test_views_that_are_not_contiguous() -> None:
    maps = np.random.default_rng(0).integers(0, 3, (2, 40, 60), np.uint8)
    a, b = maps[:, ::2, ::3]
    assert score_frame(a, b) == score_frame(a.copy(), b.copy())
    assert contour_accuracy(a, b) == contour_accuracy(a.copy(), b.copy())


@pytest.mark.parametrize("measure", [region_similarity, contour_accuracy, score_frame])
def test_masks_that_cannot_be_compared(measure) -> None:
    with pytest.raises(StremnError, match=r"prediction is 6x4 and the truth 7x4 \(width x height\)"):
        measure(np.zeros((4, 6), np.uint8), np.zeros((4, 7), np.uint8))
    with pytest.raises(StremnError, match="two dimensions"):
        measure(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(StremnError, match="no pixels"):
        measure(np.zeros((0, 6), np.uint8), np.zeros((0, 6), np.uint8))


@pytest.mark.parametrize("labels", [np.array([[0.5]]), np.array([[300]]), np.array([[-1]])])
def test_values_that_are_no_ids(labels: np.ndarray) -> None:
    with pytest.raises(StremnError, match="whole numbers from 0 to 255"):
        score_frame(labels, labels)
