"""What a session found in one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stremn.errors import StremnError
from stremn.sessions.inputs import bilinear

if TYPE_CHECKING:
    from supervision import Detections

    from stremn.sessions.crop import Crop

__all__ = ["LOST", "SegmentationResult"]

LOST = 0.5
"""The confidence below which an object is called lost."""


@dataclass(frozen=True)
class SegmentationResult:
    """What a session found in one frame.

    Attributes:
        frame_index: position of the frame in the stream, from 0.
        labels: object id of every pixel ``(H, W)`` uint8, 0 = background, at the frame's own size.
        object_ids: the objects followed, in the order of ``probabilities``.
        confidence: by object id, the probability that the object is followed rightly, in [0, 1]; 1 where its
            mask was given. See :mod:`stremn.sessions.confidence`.

    Examples:
        >>> from stremn import SegmentationSession
        >>> session = SegmentationSession("stremn-lite", size=48)
        >>> mask = np.zeros((48, 64), np.uint8)
        >>> mask[10:30, 10:40] = 7
        >>> result = session.step(np.zeros((48, 64, 3), np.uint8), masks=mask)
        >>> result.object_ids, int(result.labels.max()), result.probabilities.shape
        ((7,), 7, (1, 48, 64))
    """

    frame_index: int
    labels: np.ndarray
    object_ids: tuple[int, ...]
    confidence: Mapping[int, float] = field(default_factory=dict)
    _coarse: Any = None  # tensor or array (O, 1, h', w'), at any resolution
    _crop: "Crop | None" = None  # of the frame, that they are of

    @property
    def lost(self) -> dict[int, bool]:
        """By object id, whether it is not seen at present: lost, hidden, or out of the picture."""
        return {i: value < LOST for i, value in self.confidence.items()}

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of each object at each pixel ``(O, H, W)`` float32; the rest to 1 is background."""
        if self._coarse is None:
            return np.zeros((0, *self.labels.shape), np.float32)
        coarse = self._coarse if isinstance(self._coarse, np.ndarray) else self._coarse.float().cpu().numpy()
        height, width = self.labels.shape
        size = (height, width) if self._crop is None else (self._crop.side, self._crop.side)
        fine = np.stack([bilinear(one, size) for one in coarse[:, 0]])
        if self._crop is None:
            return fine
        return np.stack([self._crop.paste(one, (height, width)) for one in fine])

    def to_supervision(self) -> "Detections":
        """The objects that have pixels as ``supervision.Detections``, in the order of ``object_ids``.

        Ids are both ``tracker_id`` and ``class_id``; ``data`` holds ``lost``.

        Raises:
            StremnError: if the package is not installed.
        """
        try:
            from supervision import Detections, mask_to_xyxy
        except ImportError as error:
            raise StremnError(
                "supervision is not installed: give pip install 'stremn[supervision]'"
            ) from error
        ids = np.array([i for i in self.object_ids if (self.labels == i).any()], dtype=int)
        if not len(ids):
            return Detections.empty()
        masks = self.labels == ids[:, None, None]
        return Detections(
            xyxy=mask_to_xyxy(masks),
            mask=masks,
            confidence=np.array([self.confidence[i] for i in ids.tolist()], dtype=np.float32),
            class_id=ids,
            tracker_id=ids,
            data={"lost": np.array([self.lost[i] for i in ids.tolist()])},
        )
