"""The colours of object ids: the palette of PASCAL VOC and DAVIS, by its rule."""

import numpy as np

__all__ = ["PALETTE"]


def _palette() -> np.ndarray:
    """Bit 3j + c of an id becomes bit 7 - j of channel c: neighbouring ids get distant colours."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for j in range(3):
        for c in range(3):
            colours[:, c] |= ((ids >> (3 * j + c) & 1) << (7 - j)).astype(np.uint8)
    return colours


PALETTE = _palette()
"""(256, 3) uint8 RGB: colour of every object id; 0, the background, is black."""
PALETTE.setflags(write=False)
