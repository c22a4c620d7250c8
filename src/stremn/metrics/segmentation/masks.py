"""J and F of one pair of masks, and of all objects in one pair of label maps."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from stremn.errors import StremnError

__all__ = [
    "FOREGROUND",
    "WHITE",
    "FrameScores",
    "contour",
    "contour_accuracy",
    "contour_tolerance",
    "region_similarity",
    "score_frame",
]

WHITE = 255
"""Void in DAVIS masks of several objects; the object itself in black-and-white masks."""

FOREGROUND = 0
"""Key in ``FrameScores.scores`` of the ids 1 and 255 taken as one object. No object has the id 0."""

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class FrameScores:
    """What one frame adds to the scores of its sequence.

    Attributes:
        truth_ids: labels met in the truth, 0 left out.
        predicted_ids: labels met in the prediction, 0 left out.
        scores: (J, F) of each id; None for a frame without prediction.

    Examples:
        >>> score_frame(np.array([[0, 1], [0, 1]]), np.array([[0, 1], [0, 2]])).truth_ids == {1, 2}
        True
    """

    truth_ids: frozenset[int]
    predicted_ids: frozenset[int] = frozenset()
    scores: dict[int, tuple[float, float]] | None = None


def region_similarity(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Region similarity J: intersection over union of two masks; 1 where both are empty.

    Args:
        prediction: (H, W) boolean mask, or a label map of which everything but 0 is taken.
        truth: the same, of the same size.

    Returns:
        J in [0, 1].

    Raises:
        StremnError: if the masks are not two-dimensional or differ in size.

    Examples:
        >>> region_similarity([[1, 1, 0]], [[0, 1, 0]])
        0.5
    """
    return _similarity(*_pair(_binary(prediction), _binary(truth)))


def contour_accuracy(prediction: ArrayLike, truth: ArrayLike, tolerance: float = 0.008) -> float:
    """Contour accuracy F: harmonic mean of precision and recall of the contour pixels of two masks.

    A contour pixel counts as matched if the other contour passes within ``contour_tolerance`` pixels of it.
    Two masks without contour score 1; if only one of them has none the score is 0.

    Args:
        prediction: (H, W) boolean mask, or a label map of which everything but 0 is taken.
        truth: the same, of the same size.
        tolerance: reach of a match as a fraction of the image diagonal, or in pixels from 1 on.

    Returns:
        F in [0, 1].

    Raises:
        StremnError: if the masks are not two-dimensional or differ in size.

    Examples:
        >>> truth = np.zeros((48, 64), bool)
        >>> truth[10:30, 10:40] = True
        >>> contour_accuracy(np.roll(truth, 1, axis=1), truth), contour_accuracy(np.zeros_like(truth), truth)
        (1.0, 0.0)
    """
    a, b = _pair(_binary(prediction), _binary(truth))
    return _accuracy(*_cut(a, b), contour_tolerance(a.shape[0], a.shape[1], tolerance))


def contour_tolerance(height: int, width: int, tolerance: float = 0.008) -> int:
    """Reach of a contour match in pixels: ``tolerance`` of the diagonal, or itself from 1 on, rounded up.

    Examples:
        >>> contour_tolerance(480, 854)
        8
    """
    return math.ceil(tolerance if tolerance >= 1 else tolerance * math.sqrt(height * height + width * width))


def contour(mask: ArrayLike) -> NDArray[np.bool_]:
    """Contour of a mask, one pixel wide: pixels unlike their right, lower or lower right neighbour.

    Beyond the last row and column the mask goes on as it ends, so the frame of the image is never a contour.

    Args:
        mask: (H, W) boolean mask, or a label map of which everything but 0 is taken.

    Returns:
        (H, W) boolean map.

    Examples:
        >>> contour([[0, 0, 0], [0, 1, 1], [0, 1, 1]]).astype(int).tolist()
        [[1, 1, 1], [1, 0, 0], [1, 0, 0]]
    """
    return _contour(_binary(mask)) > 0


def score_frame(prediction: NDArray[Any] | None, truth: NDArray[Any]) -> FrameScores:
    """Score every object of one frame.

    Args:
        prediction: (H, W) label map, 0 = background, ids 1-255; None tells the ids of the truth only.
        truth: (H, W) label map of the same size.

    Raises:
        StremnError: if the maps differ in size, or are no label maps.

    Examples:
        >>> truth = np.zeros((48, 64), np.uint8)
        >>> truth[10:30, 10:40] = 7
        >>> score_frame(truth, truth).scores
        {7: (1.0, 1.0)}
    """
    true = _labels(truth)
    predicted, true = _pair(true if prediction is None else _labels(prediction), true)
    truth_ids = _ids(true)
    if prediction is None:
        return FrameScores(truth_ids)
    predicted_ids, radius = _ids(predicted), contour_tolerance(true.shape[0], true.shape[1])
    wanted = predicted_ids | truth_ids
    scores = {i: _score(_equal(predicted, i), _equal(true, i), radius) for i in sorted(wanted)}
    if WHITE in wanted:
        # Only the whole sequence tells whether 255 is void or the one object; keep the answer to both.
        either = [_equal(labels, 1) | _equal(labels, WHITE) for labels in (predicted, true)]
        scores[FOREGROUND] = _score(either[0], either[1], radius)
    return FrameScores(truth_ids, predicted_ids, scores)


def _score(prediction: Mask, truth: Mask, radius: int) -> tuple[float, float]:
    a, b = _cut(prediction, truth)
    return _similarity(a, b), _accuracy(a, b, radius)


def _similarity(a: Mask, b: Mask) -> float:
    union = cv2.countNonZero(a | b)
    return cv2.countNonZero(a & b) / union if union else 1.0


def _accuracy(prediction: Mask, truth: Mask, radius: int) -> float:
    predicted, true = _contour(prediction), _contour(truth)
    n_predicted, n_true = cv2.countNonZero(predicted), cv2.countNonZero(true)
    if not n_predicted or not n_true:
        return float(n_predicted == n_true)
    precision = cv2.countNonZero(predicted & _dilate(true, radius)) / n_predicted
    recall = cv2.countNonZero(true & _dilate(predicted, radius)) / n_true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _contour(mask: Mask) -> Mask:
    # Largest minus smallest value of the 2 x 2 pixels that begin at each pixel.
    square = np.ones((2, 2), np.uint8)
    gradient = cv2.morphologyEx(
        mask, cv2.MORPH_GRADIENT, square, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(gradient, np.uint8)


def _dilate(mask: Mask, radius: int) -> Mask:
    """Dilate by the disk x² + y² ≤ radius², as the union of the rectangles that fill it.

    Rectangles are separable: the cost grows with the radius and not with its square.
    """
    grown = np.zeros_like(mask)
    for rectangle in _rectangles(radius):
        cv2.max(grown, cv2.dilate(mask, rectangle), grown)
    return grown


@cache
def _rectangles(radius: int) -> list[Mask]:
    tallest = {math.isqrt(radius * radius - y * y): y for y in range(radius + 1)}
    return [np.ones((2 * y + 1, 2 * x + 1), np.uint8) for x, y in tallest.items()]


def _cut(a: Mask, b: Mask) -> tuple[Mask, Mask]:
    """Both masks within their bounding box and one pixel around it, so that their contours lie inside."""
    x, y, width, height = cv2.boundingRect(a | b)
    box = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    return a[box], b[box]


def _equal(labels: Mask, object_id: int) -> Mask:
    return (labels == object_id).view(np.uint8)


def _ids(labels: Mask) -> frozenset[int]:
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256])
    return frozenset(np.flatnonzero(counts).tolist()) - {0}


def _binary(mask: ArrayLike) -> Mask:
    return np.ascontiguousarray(np.asarray(mask) != 0).view(np.uint8)


def _labels(labels: NDArray[Any]) -> Mask:
    if labels.dtype.kind not in "biu" or (labels.size and not 0 <= labels.min() <= labels.max() <= 255):
        raise StremnError(
            f"a label map holds whole numbers from 0 to 255, not {labels.dtype}: give object ids"
        )
    return np.ascontiguousarray(labels, np.uint8)


def _pair(prediction: Mask, truth: Mask) -> tuple[Mask, Mask]:
    if prediction.ndim != 2 or truth.ndim != 2:
        raise StremnError(f"masks have two dimensions (H, W), not {prediction.shape} and {truth.shape}")
    if not truth.size or not prediction.size:
        raise StremnError("masks have no pixels: give masks of one pixel or more")
    if prediction.shape != truth.shape:
        sizes = [f"{mask.shape[1]}x{mask.shape[0]}" for mask in (prediction, truth)]
        raise StremnError(
            f"the prediction is {sizes[0]} and the truth {sizes[1]} (width x height): "
            "save predictions at the size of the truth"
        )
    return prediction, truth
