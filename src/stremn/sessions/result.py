"""What a session found in one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.ops.aggregate import background_logit

if TYPE_CHECKING:
    from supervision import Detections

__all__ = ["SegmentationResult", "label_map", "winners"]


@dataclass(frozen=True)
class SegmentationResult:
    """What a session found in one frame.

    Attributes:
        frame_index: position of the frame in the stream, from 0.
        labels: object id of every pixel ``(H, W)`` uint8, 0 = background, at the frame's own size.
        object_ids: the objects followed, in the order of ``probabilities``.
        confidence: by object id, the probability that the object is followed rightly, in [0, 1]; 1 where its
            mask was given. See :mod:`stremn.sessions.confidence`.
        lost: by object id, whether it is not seen at present: lost, hidden, or out of the picture.

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
    lost: Mapping[int, bool] = field(default_factory=dict)
    _coarse: Tensor | None = None  # (O, 1, h', w'), at any resolution

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of each object at each pixel ``(O, H, W)`` float32; the rest to 1 is background."""
        if self._coarse is None:
            return np.zeros((0, *self.labels.shape), np.float32)
        fine = F.interpolate(
            self._coarse.float(), size=self.labels.shape, mode="bilinear", align_corners=False
        )
        return fine[:, 0].cpu().numpy()

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


def label_map(logits: Tensor, object_ids: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """The winning id of every pixel ``(H, W)`` uint8 for logits ``(O, 1, h', w')``.

    Logits are interpolated, not probabilities: edges come out sharper.
    """
    fine = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[:, 0]
    # Soft aggregation keeps the order of the objects, and an object wins over the background only if its
    # odds do; with one object that is a logit above zero.
    if len(object_ids) == 1:
        return ((fine[0] > 0).to(torch.uint8) * object_ids[0]).cpu().numpy()
    return _winners(fine, background_logit(fine, dim=0), object_ids)


def winners(probabilities: Tensor, object_ids: tuple[int, ...]) -> np.ndarray:
    """The winning id of every pixel ``(H, W)`` uint8 for probabilities ``(O, 1, H, W)``."""
    return _winners(probabilities[:, 0], 1 - probabilities[:, 0].sum(dim=0), object_ids)


def _winners(objects: Tensor, background: Tensor, object_ids: tuple[int, ...]) -> np.ndarray:
    best, winner = objects.max(dim=0)
    ids = torch.tensor(object_ids, dtype=torch.uint8, device=best.device)
    return torch.where(best > background, ids[winner], 0).to(torch.uint8).cpu().numpy()
