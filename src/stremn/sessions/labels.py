"""From logits or probabilities of several objects to the one that owns each pixel."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.ops.aggregate import background_logit

__all__ = ["label_map", "winners"]


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
