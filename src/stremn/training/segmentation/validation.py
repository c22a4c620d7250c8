"""Validation of segmentation on sequences that are never trained on."""

from collections.abc import Sequence

import numpy as np
import torch

from stremn.data import Video, new_objects, play
from stremn.files.overlay import overlay
from stremn.metrics import SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import SegmentationSession
from stremn.training.task import SCORE

__all__ = ["Validator"]

COLUMNS, HEIGHT = 4, 180


class Validator:
    """Segments sequences from their first masks, as users do, and scores them.

    Args:
        sequences: to score.
        size: internal resolution of the session; 0 for the model's own.
        device: where.
        precision: of the session: ``"fp32"`` or ``"bf16"``.
    """

    def __init__(
        self, sequences: Sequence[Video], *, size: int, device: torch.device, precision: str
    ) -> None:
        """See the class."""
        self.sequences, self.size, self.device, self.precision = sequences, size, str(device), precision
        self._rows: list[np.ndarray] = []

    def figures(self, model: Segmenter) -> dict[str, float]:
        """Mean J&F (the score), J and F over the objects of all sequences, 0 to 100."""
        session = SegmentationSession(
            model, size=self.size or None, device=self.device, precision=self.precision
        )
        scores = []
        self._rows = []
        for sequence in self.sequences:
            session.reset()
            scorer = SequenceScorer(sequence.name)
            row = []
            shown = np.linspace(0, len(sequence.frames) - 1, COLUMNS + 1).round()[1:]
            for index, moment in enumerate(play(sequence)):
                labels = session.step(moment.image, new_objects(moment.truth, session.object_ids)).labels
                if moment.truth is not None:
                    scorer.update(labels, moment.truth)
                if index in shown:
                    row.append(_small(overlay(moment.image, labels)))
            scores += scorer.result()
            self._rows.append(np.concatenate(row, axis=1))
        j, f = (100 * float(np.mean([getattr(s, name) for s in scores])) for name in ("j_mean", "f_mean"))
        return {SCORE: (j + f) / 2, "J": j, "F": f}

    def picture(self) -> np.ndarray | None:
        """Later frames of each sequence, as last segmented, one row a sequence."""
        if not self._rows:
            return None
        width = max(row.shape[1] for row in self._rows)
        rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in self._rows]
        return np.concatenate(rows)


def _small(picture: np.ndarray) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
