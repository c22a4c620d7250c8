"""Colours of RGB masks as object ids, the same for all masks of one video."""

import numpy as np

from stremn.files.palette import PALETTE

__all__ = ["Colour", "ColourTable", "background_colour"]

Colour = tuple[int, ...]

_SHIFT = 8  # levels by which JPEG moves a colour; those of the palette are 32 apart at least
_DARK = 24


class ColourTable:
    """Ids given to colours so far: by the DAVIS palette if all of the first mask's colours are in it.

    Otherwise the first mask's colours are numbered from 1 in sorted order, and later ones after them.
    """

    def __init__(self) -> None:
        """Start without colours."""
        self._ids: dict[Colour, int] = {}

    def assign(self, colours: list[Colour], *, tolerant: bool = False) -> list[int] | None:
        """The id of each colour, background excluded; None when more than 255 are needed.

        Args:
            colours: (r, g, b), each 0-255, in any order.
            tolerant: the colours may be off by a few levels (JPEG).
        """
        shift = _SHIFT if tolerant else 0
        if not self._ids:
            self._ids = _palette_ids(colours, shift) or {}
        for colour in sorted(colours):
            if self._known(colour, shift) is None:
                free = next((i for i in range(1, 256) if i not in self._ids.values()), None)
                if free is None:
                    return None
                self._ids[colour] = free
        known = [self._known(colour, shift) for colour in colours]
        return [object_id for object_id in known if object_id is not None]

    def _known(self, colour: Colour, shift: int) -> int | None:
        if colour in self._ids or not self._ids or not shift:
            return self._ids.get(colour)
        nearest = min(self._ids, key=lambda other: _distance(colour, other))
        return self._ids[nearest] if _distance(colour, nearest) <= shift else None


def _distance(a: Colour, b: Colour) -> int:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def _palette_ids(colours: list[Colour], shift: int) -> dict[Colour, int] | None:
    """Ids of the whole palette if it explains every colour, and exact colours by an entry each."""
    table = PALETTE.astype(np.int16)
    distances = [np.abs(table - np.array(colour)).max(axis=1) for colour in colours]
    ids = [int(distance.argmin()) for distance in distances]
    explained = all(distance.min() <= shift for distance in distances)
    if not colours or not explained or 0 in ids or (not shift and len(set(ids)) < len(ids)):
        return None
    return {tuple(int(c) for c in PALETTE[i]): i for i in range(1, 256)}


def background_colour(values: np.ndarray, indices: np.ndarray, *, tolerant: bool) -> int | None:
    """Which of `values` (N, 3) is the background: black, or else what most of the picture's rim shows.

    Args:
        values: (N, 3) uint8 colours of the mask.
        indices: (H, W) indices into `values`.
        tolerant: near-black counts as black.
    """
    darkness = values.max(axis=1)
    if darkness.min() <= (_DARK if tolerant else 0):
        return int(darkness.argmin())
    rim = np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])
    return int(np.bincount(rim, minlength=len(values)).argmax())
