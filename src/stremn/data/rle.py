"""Run lengths as COCO writes them: down the columns, background first; as numbers or packed in a string."""

from collections.abc import Sequence

import numpy as np

__all__ = ["decode_runs", "unpack_runs"]

FIRST_CHARACTER = 48
VALUE_BITS = 5


def unpack_runs(text: str) -> list[int]:
    """The run lengths of a packed string.

    A number is cut into groups of five bits, the lowest first, one character each; a sixth bit says that more
    follow, and the highest bit of the last group is the sign. From the fourth run on, the number is the
    difference to the last run but one.

    Raises:
        ValueError: if the text is none that packs run lengths.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - FIRST_CHARACTER
        if not 0 <= group < 64:
            raise ValueError(f"character {character!r} in packed run lengths")
        value |= (group & 31) << shift
        shift += VALUE_BITS
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("packed run lengths end within a number")
    return runs


def decode_runs(runs: Sequence[int], height: int, width: int) -> np.ndarray:
    """Run lengths, background first, to a mask ``(height, width)`` of 0 and 1, uint8.

    Raises:
        ValueError: if a run is negative or they do not add up to the size.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"run lengths do not fill {width}x{height} pixels")
    values = (np.arange(len(lengths)) % 2).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)
