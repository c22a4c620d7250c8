"""Several data sets as one."""

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from stremn.data.clip import Clip, ClipRequest

__all__ = ["ClipMixture"]


class ClipMixture(Dataset[Clip]):
    """Clips of several data sets, each drawn with its share; clip ``i`` depends only on the seed and ``i``.

    Args:
        parts: data sets of clips.
        shares: probability of each, any positive scale.
        seed: of the draw.
    """

    def __init__(self, parts: Sequence[Dataset[Clip]], shares: Sequence[float], seed: int) -> None:
        """See the class."""
        self.parts, self.seed = parts, seed
        self.cumulative = np.cumsum(shares) / np.sum(shares)

    def __getitem__(self, request: ClipRequest) -> Clip:
        """The clip of the part drawn for it."""
        draw = np.random.default_rng([self.seed, 0, request.number]).random()
        return self.parts[int(np.searchsorted(self.cumulative, draw, side="right"))][request]
