"""Validation of segmentation on sequences that are never trained on."""

from collections.abc import Sequence

import cv2
import numpy as np

from stremn.data import Video, new_objects, play
from stremn.files.drawing import overlay
from stremn.metrics import SequenceScorer
from stremn.sessions import SegmentationSession
from stremn.training.task import SCORE

__all__ = ["segment_held_out"]

COLUMNS, HEIGHT = 4, 180
"""Frames of a sequence that are shown, and their height in pixels."""


def segment_held_out(
    session: SegmentationSession, sequences: Sequence[Video]
) -> tuple[dict[str, float], np.ndarray | None]:
    """Segment sequences from their first masks, as users do, and score them.

    Args:
        session: what segments them; it is begun anew for each.
        sequences: what to segment.

    Returns:
        Mean J&F (the score), J and F over the objects of all sequences, 0 to 100; and later frames of each
        sequence ``(H, W, 3)`` uint8 RGB, one row a sequence, if there are any.
    """
    scores, rows = [], []
    for sequence in sequences:
        session.reset()
        scorer, row = SequenceScorer(sequence.name), []
        shown = np.linspace(0, len(sequence.frames) - 1, COLUMNS + 1).round()[1:]
        for index, played in enumerate(play(sequence)):
            labels = session.step(played.image, new_objects(played.truth, session.object_ids)).labels
            if played.truth is not None:
                scorer.update(labels, played.truth)
            if index in shown:
                row.append(_small(overlay(played.image, labels)))
        scores += scorer.result()
        rows.append(np.concatenate(row, axis=1))
    j, f = (100 * float(np.mean([getattr(s, name) for s in scores])) for name in ("j_mean", "f_mean"))
    width = max((row.shape[1] for row in rows), default=0)
    rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return {SCORE: (j + f) / 2, "J": j, "F": f}, np.concatenate(rows) if rows else None


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
