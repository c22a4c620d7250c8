"""Scores of folders of mask images."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stremn.errors import StremnError
from stremn.files.masks import read_ids
from stremn.files.names import image_files, natural_key, read_split
from stremn.metrics.segmentation.masks import FrameScores
from stremn.metrics.segmentation.scores import ObjectScore, ScoreTable
from stremn.metrics.segmentation.sequences import SequenceScorer, frame_scores

__all__ = ["score_folders"]

logger = logging.getLogger("stremn")


@dataclass(frozen=True)
class _Sequence:
    """Mask files of one sequence in order; a prediction is None on the frames that are not scored."""

    name: str
    predictions: tuple[Path | None, ...]
    truth: tuple[Path, ...]


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
    the root of a DAVIS copy. Files pair by name; the truth's first and last frame need no prediction. Masks
    hold ids: what ``stremn.files.read_mask`` would repair is scored as it is.

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
    sequences = _find_sequences(Path(predictions), Path(truth), split)
    total = sum(len(sequence.truth) for sequence in sequences)
    pool = ThreadPoolExecutor(jobs or _usable_cores())
    done = 0
    objects: list[ObjectScore] = []
    try:
        # Frames are handed out singly, so that one long sequence keeps every core busy.
        pending = [
            (s.name, [pool.submit(_score_files, *f) for f in zip(s.predictions, s.truth)]) for s in sequences
        ]
        for name, frames in pending:
            scorer = SequenceScorer(name)
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
    if prediction is None:
        return frame_scores(None, true)
    predicted = read_ids(prediction)
    if predicted.shape != true.shape:
        sizes = [f"{labels.shape[1]}x{labels.shape[0]}" for labels in (predicted, true)]
        raise StremnError(
            f"{prediction} is {sizes[0]} and its truth {truth} is {sizes[1]} (width x height): "
            "save predictions at the size of the truth, or give the truth of that size"
        )
    return frame_scores(predicted, true)


def _find_sequences(predictions: Path, truth: Path, split: Path | None) -> list[_Sequence]:
    for folder, what in ((predictions, "predictions"), (truth, "truth")):
        if not folder.is_dir():
            raise StremnError(f"{folder} is not a folder: give the folder that holds the {what}")
    annotations = _annotations(truth)
    if _images(annotations):
        if not _images(predictions):
            raise StremnError(f"{predictions} holds no mask: give the folder that pairs with {truth}")
        return [_pair(_name(annotations), predictions, annotations)]
    if _images(predictions) and split is None:
        name = _name(predictions)
        if not (annotations / name).is_dir():
            raise StremnError(
                f"{annotations} has no sequence {name}: give the folder of its true masks as truth"
            )
        return [_pair(name, predictions, annotations / name)]
    names = read_split(split) if split else _sequence_names(annotations)
    if not names:
        raise StremnError(f"{truth} holds neither masks nor sequences: give the folder of true masks")
    if split is None:
        _tell_unknown(_sequence_names(predictions), set(names), annotations)
    _check_present(names, annotations, "give the whole truth, or correct the list of sequences")
    _check_present(names, predictions, "segment them, or list the sequences to score with --split")
    return [_pair(name, predictions / name, annotations / name) for name in names]


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


def _tell_unknown(predicted: list[str], known: set[str], truth: Path) -> None:
    if unknown := [name for name in predicted if name not in known]:
        logger.warning("%s lacks %s: not scored", truth, _count(unknown, "sequence", len(predicted)))


def _pair(name: str, predictions: Path, truth: Path) -> _Sequence:
    true, predicted = _images(truth), _images(predictions)
    stems = list(true)
    scored = stems[1:-1]
    if missing := [stem for stem in scored if stem not in predicted]:
        raise StremnError(
            f"{predictions} lacks {_count(missing, 'frame', len(scored))}: "
            "write one mask per frame, named like the truth"
        )
    chosen = tuple(predicted[stem] if stem in scored else None for stem in stems)
    return _Sequence(name, chosen, tuple(true.values()))


def _images(folder: Path) -> dict[str, Path]:
    """Masks of a folder, or of ``masks/`` in an output folder, by name without suffix in natural order."""
    output = folder / "summary.json"
    places = (folder / "masks", folder) if output.is_file() else (folder, folder / "masks")
    return next(({p.stem: p for p in files} for place in places if (files := image_files(place))), {})


def _count(missing: list[str], what: str, total: int) -> str:
    listed = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return f"{len(missing)} of {total} {what}s ({listed})"
