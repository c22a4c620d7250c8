"""Scores of one sequence, taken in frame by frame."""

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stremn.errors import StremnError
from stremn.metrics.segmentation.masks import FOREGROUND, WHITE, FrameScores, score_frame
from stremn.metrics.segmentation.scores import ObjectScore

__all__ = ["SequenceScorer", "score_sequence"]

logger = logging.getLogger("stremn")


class SequenceScorer:
    """Scores one sequence as its frames arrive; holds a few numbers per frame and no mask.

    The first and the last frame are not scored (the first is given to the method, and the convention drops
    the last). Scored are the ids that the truth holds in any frame before the last: an object that appears
    late counts from the first scored frame on, with J = F = 1 while it is absent from truth and prediction.
    On DAVIS, where every object is in the first frame, this is the official choice.

    In the truth, 255 beside other ids is void and counts as background, as in DAVIS. If the truth knows one
    object only, with id 1 or 255, both values mean that object, in the prediction too.

    Args:
        name: the sequence, as named in the scores and in errors.
        object_ids: score exactly these ids, each under its own value (255 too), whether they occur or not.

    Examples:
        >>> masks = np.zeros((4, 48, 64), np.uint8)
        >>> masks[:, 10:30, 10:40] = 1
        >>> scorer = SequenceScorer("bear")
        >>> for mask in masks:
        ...     scorer.update(mask, mask)
        >>> scorer.result()[0].j_and_f
        1.0
    """

    def __init__(self, name: str, object_ids: Iterable[int] | None = None) -> None:
        """Start a sequence without frames."""
        self.name = name
        self.object_ids = None if object_ids is None else tuple(sorted(set(object_ids)))
        self._frames: list[FrameScores] = []

    def update(self, prediction: NDArray[np.uint8] | None, truth: NDArray[np.uint8]) -> None:
        """Take in the next frame.

        Args:
            prediction: (H, W) label map; may be None on the first and the last frame.
            truth: (H, W) label map.

        Raises:
            StremnError: if the two differ in size, or are no label maps; names sequence and frame.
        """
        try:
            # The first frame tells ids only: scoring an array against itself is spared.
            self.add(frame_scores(None if not self._frames else prediction, truth, self.object_ids))
        except StremnError as error:
            raise StremnError(f"{self.name}, frame {len(self._frames)}: {error}") from error

    def add(self, frame: FrameScores) -> None:
        """Take in the next frame, already scored (``score_frame``), perhaps elsewhere."""
        self._frames.append(frame)

    def result(self) -> list[ObjectScore]:
        """The scores of all objects, in the order of their ids.

        Raises:
            StremnError: if there are fewer than three frames, a prediction between the first and the last
                is missing, or the truth holds no object.
        """
        scored = self._frames[1:-1]
        if not scored:
            raise StremnError(
                f"{self.name} has {len(self._frames)} frames: the first and the last are not scored, "
                "give three or more"
            )
        scores: list[dict[int, tuple[float, float]]] = []
        for index, frame in enumerate(scored, start=1):
            if frame.scores is None:
                raise StremnError(f"{self.name}, frame {index}: there is no prediction, add it")
            scores.append(frame.scores)
        ids = self._ids()
        white = self.object_ids is None and len(ids) == 1 and ids[0] in (1, WHITE)
        self._warn_of_strangers(set(ids) | ({1, WHITE} if white else set()))
        rows = [[_of(frame, i, white) for frame in scores] for i in ids]
        return [ObjectScore.from_frames(self.name, i, *zip(*row, strict=True)) for i, row in zip(ids, rows)]

    def _ids(self) -> tuple[int, ...]:
        if self.object_ids is not None:
            return self.object_ids
        ids = set().union(*(frame.truth_ids for frame in self._frames[:-1]))
        if len(ids) > 1:
            ids.discard(WHITE)
        if not ids:
            raise StremnError(f"the truth of {self.name} holds no object: give masks that label one")
        return tuple(sorted(ids))

    def _warn_of_strangers(self, known: set[int]) -> None:
        predicted = set().union(*(frame.predicted_ids for frame in self._frames[1:-1]))
        if strangers := sorted(predicted - known):
            listed = ", ".join(map(str, strangers))
            logger.warning("%s: predicted ids that the truth lacks are not scored: %s", self.name, listed)


def score_sequence(
    name: str,
    predictions: Iterable[NDArray[np.uint8]],
    truth: Iterable[NDArray[np.uint8]],
    object_ids: Iterable[int] | None = None,
) -> list[ObjectScore]:
    """Score a sequence of label maps; see ``SequenceScorer`` for what counts.

    Args:
        name: the sequence, as named in the scores and in errors.
        predictions: T label maps (H, W), an array (T, H, W) or anything that yields them.
        truth: the same, as many.
        object_ids: score exactly these ids.

    Raises:
        StremnError: if the two differ in length or size, have fewer than three frames, or no object.

    Examples:
        >>> truth = np.zeros((4, 48, 64), np.uint8)
        >>> truth[:, 10:30, 10:40] = 1
        >>> [score.j_mean for score in score_sequence("bear", np.zeros_like(truth), truth)]
        [0.0]
    """
    scorer = SequenceScorer(name, object_ids)
    frames = iter(predictions), iter(truth)
    while True:
        prediction, true = (next(f, None) for f in frames)
        if prediction is None and true is None:
            return scorer.result()
        if prediction is None or true is None:
            short = "predictions" if prediction is None else "truth"
            raise StremnError(f"{name}: the {short} end early: give one prediction for each true mask")
        scorer.update(prediction, true)


def frame_scores(
    prediction: NDArray[np.uint8] | None,
    truth: NDArray[np.uint8],
    object_ids: Iterable[int] | None = None,
) -> FrameScores:
    """``score_frame``, or the true ids alone where there is no prediction to score."""
    if prediction is not None:
        return score_frame(prediction, truth, object_ids)
    return FrameScores(score_frame(truth, truth, ()).truth_ids, scores=None)


def _of(frame: dict[int, tuple[float, float]], object_id: int, white: bool) -> tuple[float, float]:
    if white and FOREGROUND in frame:
        return frame[FOREGROUND]
    return frame.get(object_id, (1.0, 1.0))
