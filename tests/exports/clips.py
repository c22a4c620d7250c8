"""A clip with all that shapes can have: parts, holes, single pixels, objects that leave, touch, come back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from small_data import frame
from stremn.exports import Exports

HEIGHT, WIDTH, COUNT = 64, 96, 5
NAMES = {7: 'Bob\'s "dog" & <cat>: é 視 🐕', 3: "car", 255: "car"}
LABELS = ["car", 'Bob\'s "dog" & <cat>: é 視 🐕', "object-20"]
IDS = (3, 7, 20, 255)


def labels(index: int) -> np.ndarray:
    """(H, W) uint8: 7 with a hole, 3 of two parts and touching it, 20 of a pixel, 255 round."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[8 : 30 + index, 10 + index : 40] = 7
    ids[12:18, 20:30] = 0
    if index != 2:
        ids[30 + index : 50, 10 : 30 + index] = 3
        ids[52:60, 4:20] = 3
    if index >= 3:
        ids[0, 0] = 20
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ids[(rows - 40) ** 2 + (columns - 70 + index) ** 2 < 18**2] = 255
    return ids


def write(folder: Path, chosen: Sequence[str], count: int = COUNT, **options: object) -> Path:
    """The clip exported, its frames named ``frame é0``, ``frame é1``, ..."""
    with Exports(folder, chosen, **{"names": NAMES, **options}) as exports:  # type: ignore[arg-type]
        for index in range(count):
            exports.write(frame(index), labels(index), index=index, name=f"frame é{index}")
    return folder
