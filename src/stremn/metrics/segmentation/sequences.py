"""Scores of sequences: of frames as they come, of arrays, and of folders of mask images."""

import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stremn.errors import StremnError
from stremn.files.masks import read_ids
from stremn.files.names import check_stems, image_files, natural_key, read_split, some_of
from stremn.metrics.segmentation.masks import FOREGROUND, WHITE, FrameScores, score_frame
from stremn.metrics.segmentation.scores import ObjectScore, ScoreTable

__all__ = ["SequenceScorer", "score_folders", "score_sequence"]

logger = logging.getLogger("stremn")

Pair = tuple[Path | None, Path]
"""Mask files of a frame, predicted and true; no prediction on a frame that is not scored."""


class SequenceScorer:
    """Scores one sequence as its frames arrive; holds a few numbers per frame and no mask.

    The first and the last frame are not scored (the first is given to the method, and the convention drops
    the last). Scored are the ids that the truth holds in any frame before the last: an object that appears
    late counts from the first scored frame on, with J = F = 1 while it is absent from truth and prediction.
    On DAVIS, where every object is in the first frame, this is the official choice.

    YouTube-VOS gives an object in the first frame that shows it, and the last frame counts: with
    ``from_given`` an object is scored from the frame after that one to the last. One that no later frame
    could show is not scored.

    In the truth, 255 beside other ids is void and counts as background, as in DAVIS. If the truth knows one
    object only, with id 1 or 255, both values mean that object, in the prediction too.

    Args:
        name: the sequence, as named in the scores and in errors.
        from_given: score by the convention of YouTube-VOS.

    Examples:
        >>> masks = np.zeros((4, 48, 64), np.uint8)
        >>> masks[:, 10:30, 10:40] = 1
        >>> scorer = SequenceScorer("bear")
        >>> for mask in masks:
        ...     scorer.update(mask, mask)
        >>> scorer.result()[0].j_and_f
        1.0
    """

    def __init__(self, name: str, *, from_given: bool = False) -> None:
        self.name, self.from_given = name, from_given
        self._frames: list[FrameScores] = []

    def update(self, prediction: NDArray[np.uint8] | None, truth: NDArray[np.uint8]) -> None:
        """Take in the next frame.

        Args:
            prediction: (H, W) label map; may be None on a frame that is not scored.
            truth: (H, W) label map.

        Raises:
            StremnError: if the two differ in size, or are no label maps; names sequence and frame.
        """
        try:
            # The first frame tells ids only.
            self.add(score_frame(prediction if self._frames else None, truth))
        except StremnError as error:
            raise StremnError(f"{self.name}, frame {len(self._frames)}: {error}") from error

    def add(self, frame: FrameScores) -> None:
        """Take in the next frame, already scored (``score_frame``), perhaps elsewhere."""
        self._frames.append(frame)

    def result(self) -> list[ObjectScore]:
        """The scores of all objects, in the order of their ids.

        Raises:
            StremnError: if no frame is scored, a prediction of one that is scored is missing, or the truth
                holds no object.
        """
        scored = self._shown()[1:]
        if not scored:
            left, least = ("first is", "two") if self.from_given else ("first and the last are", "three")
            raise StremnError(
                f"{self.name} has {len(self._frames)} frames: the {left} not scored, give {least} or more"
            )
        scores: list[dict[int, tuple[float, float]]] = []
        for index, frame in enumerate(scored, start=1):
            if frame.scores is None:
                raise StremnError(f"{self.name}, frame {index}: there is no prediction, add it")
            scores.append(frame.scores)
        ids = self._ids()
        starts = [self._given(i) if self.from_given else 0 for i in ids]
        rows = [[frame.get(i, (1.0, 1.0)) for frame in scores[start:]] for i, start in zip(ids, starts)]
        known = set(ids)
        if ids in ((1,), (WHITE,)):
            rows = [[frame.get(FOREGROUND, own) for frame, own in zip(scores[starts[0] :], rows[0])]]
            known = {1, WHITE}
        if strangers := sorted(set().union(*(frame.predicted_ids for frame in scored)) - known):
            listed = ", ".join(map(str, strangers))
            logger.warning("%s: predicted ids that the truth lacks are not scored: %s", self.name, listed)
        return [
            ObjectScore.from_frames(self.name, i, *zip(*row, strict=True)) for i, row in zip(ids, rows) if row
        ]

    def _shown(self) -> list[FrameScores]:
        """The frames whose objects count."""
        return self._frames if self.from_given else self._frames[:-1]

    def _given(self, object_id: int) -> int:
        """Index of the first frame that shows an object; beyond the last if none does."""
        shows = (index for index, frame in enumerate(self._frames) if object_id in frame.truth_ids)
        return next(shows, len(self._frames))

    def _ids(self) -> tuple[int, ...]:
        ids = set().union(*(frame.truth_ids for frame in self._shown()))
        if len(ids) > 1:
            ids.discard(WHITE)
        if not ids:
            raise StremnError(f"the truth of {self.name} holds no object: give masks that label one")
        return tuple(sorted(ids))


def score_sequence(
    name: str,
    predictions: Iterable[NDArray[np.uint8]],
    truth: Iterable[NDArray[np.uint8]],
) -> list[ObjectScore]:
    """Score a sequence of label maps; see ``SequenceScorer`` for what counts.

    Args:
        name: the sequence, as named in the scores and in errors.
        predictions: T label maps (H, W), an array (T, H, W) or anything that yields them.
        truth: the same, as many.

    Raises:
        StremnError: if the two differ in length or size, have fewer than three frames, or no object.

    Examples:
        >>> truth = np.zeros((4, 48, 64), np.uint8)
        >>> truth[:, 10:30, 10:40] = 1
        >>> [score.j_mean for score in score_sequence("bear", np.zeros_like(truth), truth)]
        [0.0]
    """
    scorer = SequenceScorer(name)
    for prediction, true in zip_longest(predictions, truth):
        if prediction is None or true is None:
            short = "predictions" if prediction is None else "truth"
            raise StremnError(f"{name}: the {short} end early: give one prediction for each true mask")
        scorer.update(prediction, true)
    return scorer.result()


def score_folders(
    predictions: Path,
    truth: Path,
    *,
    split: Path | None = None,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScoreTable:
    """Score folders of mask images against the truth.

    ``predictions`` holds one folder of masks per sequence, or is such a folder itself; a folder whose masks
    lie in ``masks/`` (an output of ``stremn segment``) is taken too. ``truth`` is laid out likewise, or is
    the root of a DAVIS copy, or a part of YouTube-VOS, which its ``meta.json`` tells and which is scored by
    its own convention (:class:`SequenceScorer`). Files pair by name; frames that are not scored need no
    prediction. Masks hold ids: what ``stremn.files.read_mask`` would repair is scored as it is.

    Args:
        predictions: the folder of predictions.
        truth: the folder of true masks.
        split: text file of the sequences to score, one name per line; by default all of the truth.
        jobs: threads; by default one per usable core.
        progress: called with (frames done, frames in all).

    Raises:
        StremnError: if anything is missing, of another size or unreadable; names the file and the remedy.

    Examples:
        >>> import numpy as np
        >>> from stremn.files import write_mask
        >>> mask = np.zeros((48, 64), np.uint8)
        >>> mask[10:30, 10:40] = 1
        >>> for root in ("predictions", "truth"):
        ...     folder = Path(root, "bear")
        ...     folder.mkdir(parents=True)
        ...     for index in range(3):
        ...         write_mask(folder / f"{index:05d}.png", mask)
        >>> score_folders(Path("predictions"), Path("truth")).overall.j_and_f
        1.0
    """
    from_given = (Path(truth) / "meta.json").is_file()
    sequences = _find_sequences(Path(predictions), Path(truth), split, from_given)
    total = sum(map(len, sequences.values()))
    pool = ThreadPoolExecutor(jobs or _usable_cores())
    done = 0
    objects: list[ObjectScore] = []
    try:
        # Frames are handed out singly, so that one long sequence keeps every core busy.
        pending = {n: [pool.submit(_score_files, *pair) for pair in pairs] for n, pairs in sequences.items()}
        for name, frames in pending.items():
            scorer = SequenceScorer(name, from_given=from_given)
            for frame in frames:
                scorer.add(frame.result())
                done += 1
                if progress:
                    progress(done, total)
            objects += scorer.result()
    finally:
        pool.shutdown(cancel_futures=True)
    return ScoreTable(tuple(objects))


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _score_files(prediction: Path | None, truth: Path) -> FrameScores:
    true = read_ids(truth)
    predicted = None if prediction is None else read_ids(prediction)
    if predicted is not None and predicted.shape != true.shape:
        sizes = [f"{labels.shape[1]}x{labels.shape[0]}" for labels in (predicted, true)]
        raise StremnError(
            f"{prediction} is {sizes[0]} and its truth {truth} is {sizes[1]} (width x height): "
            "save predictions at the size of the truth, or give the truth of that size"
        )
    return score_frame(predicted, true)


def _find_sequences(
    predictions: Path, truth: Path, split: Path | None, from_given: bool
) -> dict[str, list[Pair]]:
    for folder, what in ((predictions, "predictions"), (truth, "truth")):
        if not folder.is_dir():
            raise StremnError(f"{folder} is not a folder: give the folder that holds the {what}")
    annotations = _annotations(truth)
    if _images(annotations):
        if not _images(predictions):
            raise StremnError(f"{predictions} holds no mask: give the folder that pairs with {truth}")
        if split is not None and _name(annotations) not in read_split(split):
            raise StremnError(f"{split} does not list {_name(annotations)}, the only sequence of {truth}")
        return {_name(annotations): _pairs(predictions, annotations, from_given)}
    if _images(predictions) and split is None:
        name = _name(predictions)
        if not (annotations / name).is_dir():
            raise StremnError(
                f"{annotations} has no sequence {name}: give the folder of its true masks as truth"
            )
        return {name: _pairs(predictions, annotations / name, from_given)}
    names = read_split(split) if split else _sequence_names(annotations)
    if not names:
        raise StremnError(f"{truth} holds neither masks nor sequences: give the folder of true masks")
    if split is None:
        predicted = _sequence_names(predictions)
        if unknown := [name for name in predicted if name not in names]:
            listed = _count(unknown, "sequence", len(predicted))
            logger.warning("%s lacks %s: not scored", annotations, listed)
    _check_present(names, annotations, "give the whole truth, or correct the list of sequences")
    _check_present(names, predictions, "segment them, or list the sequences to score as 'split'")
    return {name: _pairs(predictions / name, annotations / name, from_given) for name in names}


def _name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name == "masks" else folder.name


def _annotations(truth: Path) -> Path:
    root = truth / "Annotations"
    choices = (root / "480p", root / "Full-Resolution", root)
    return next((folder for folder in choices if folder.is_dir()), truth)


def _sequence_names(folder: Path) -> list[str]:
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(names, key=natural_key)


def _check_present(names: list[str], folder: Path, remedy: str) -> None:
    if missing := [name for name in names if not _images(folder / name)]:
        raise StremnError(f"{folder} lacks {_count(missing, 'sequence', len(names))}: {remedy}")


def _pairs(predictions: Path, truth: Path, from_given: bool) -> list[Pair]:
    true, predicted = _images(truth), _images(predictions)
    scored = list(true)[1 : None if from_given else -1]
    if missing := [stem for stem in scored if stem not in predicted]:
        raise StremnError(
            f"{predictions} lacks {_count(missing, 'frame', len(scored))}: "
            "write one mask per frame, named like the truth"
        )
    return [(predicted[stem] if stem in scored else None, path) for stem, path in true.items()]


def _images(folder: Path) -> dict[str, Path]:
    """Masks of a folder, or of ``masks/`` in an output folder, by name without suffix in natural order."""
    output = folder / "summary.json"
    places = (folder / "masks", folder) if output.is_file() else (folder, folder / "masks")
    files = next((files for place in places if (files := image_files(place))), [])
    check_stems(files)
    return {path.stem: path for path in files}


def _count(missing: list[str], what: str, total: int) -> str:
    return f"{len(missing)} of {total} {what}s ({some_of(missing, 5)})"
