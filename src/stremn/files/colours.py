"""What values and colours of masks mean: the palette of object ids, and the legend of a video's masks."""

import numpy as np
from PIL import Image

__all__ = ["PALETTE", "VOID", "Colour", "Legend", "background_colour", "palette_ids"]

Colour = tuple[int, ...]

VOID = 255
"""The value of pixels that belong to nothing, in masks that hold other ids as well."""

_SHIFT = 8  # levels by which JPEG moves a colour; those of the palette are 32 apart at least
_DARK = 24  # levels up to which a colour counts as black where it may be a few levels off


def _palette() -> np.ndarray:
    """The palette of PASCAL VOC and DAVIS by its rule: neighbouring ids get distant colours.

    Bit 3j + c of an id becomes bit 7 - j of channel c.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for j in range(3):
        for c in range(3):
            colours[:, c] |= ((ids >> (3 * j + c) & 1) << (7 - j)).astype(np.uint8)
    return colours


PALETTE = _palette()
"""``(256, 3)`` uint8 RGB: colour of every object id; 0, the background, is black."""
PALETTE.setflags(write=False)


class Legend:
    """What the masks of one video mean, kept from mask to mask.

    Colours get ids by the DAVIS palette if all of the first mask's colours are in it; otherwise the first
    mask's colours are numbered from 1 in sorted order, and later ones after them. The value 255 is void, and
    so background, from the first mask on that holds it beside other ids.

    Args:
        void: 255 is known to be void from the start.

    Attributes:
        numbered: whether colours outside of the palette were given numbers.
    """

    def __init__(self, *, void: bool = False) -> None:
        self._ids: dict[Colour, int] = {}
        self._void = void
        self.numbered = False

    def without_void(self, labels: np.ndarray) -> tuple[np.ndarray, bool]:
        """Labels ``(H, W)`` uint8 with background in place of void, and whether there was any."""
        counts = np.bincount(labels.ravel(), minlength=256)
        if not counts[VOID]:
            return labels, False
        self._void = self._void or bool(counts[1:VOID].any())
        return (np.where(labels == VOID, 0, labels).astype(np.uint8), True) if self._void else (labels, False)

    def assign(self, colours: list[Colour], *, tolerant: bool = False) -> list[int] | None:
        """The id of each colour, background excluded; ``None`` when more than 255 are needed.

        Args:
            colours: ``(r, g, b)``, each 0-255, in any order.
            tolerant: the colours may be off by a few levels (JPEG).
        """
        shift = _SHIFT if tolerant else 0
        if not self._ids:
            self._ids = _colour_ids(colours, shift) or {}
            self.numbered = bool(colours) and not self._ids
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


def _colour_ids(colours: list[Colour], shift: int) -> dict[Colour, int] | None:
    """Ids of the whole palette if it explains every colour, and exact colours by an entry each."""
    table = PALETTE.astype(np.int16)
    distances = [np.abs(table - np.array(colour)).max(axis=1) for colour in colours]
    ids = [int(distance.argmin()) for distance in distances]
    explained = all(distance.min() <= shift for distance in distances)
    if not colours or not explained or 0 in ids or (not shift and len(set(ids)) < len(ids)):
        return None
    return {tuple(int(c) for c in PALETTE[i]): i for i in range(1, 256)}


def palette_ids(image: Image.Image) -> tuple[np.ndarray | None, bool]:
    """The indices ``(H, W)`` of a palette image as ids, and whether transparent ones were made background.

    ``None`` where its colours tell the background: if index 0 is not the background but a colour, and black
    or a transparent index is used.
    """
    ids = np.array(image, dtype=np.uint8)
    colours = np.asarray(image.getpalette() or [], np.uint8).reshape(-1, 3)[:256]
    levels = np.full(256, 255, np.uint8)
    levels[: len(colours)] = colours.max(axis=1)
    clear = np.zeros(256, bool)
    transparency = image.info.get("transparency")
    if isinstance(transparency, bytes):
        clear[: len(transparency)] = np.frombuffer(transparency, np.uint8)[:256] == 0
    elif isinstance(transparency, int) and 0 <= transparency < 256:
        clear[transparency] = True
    others = np.bincount(ids.ravel(), minlength=256) > 0
    zero_is_used, others[0] = bool(others[0]), False
    # Quantizers shift black by a few levels; where several colours are dark they tell nothing.
    dark = (levels <= _DARK) & (others | (levels > 0))
    black = others & (dark if dark.sum() == 1 else levels == 0)
    hidden = others & clear
    zero_is_ground = clear[0] or levels[0] <= _DARK or not len(colours)
    if not zero_is_ground and (black | hidden).any() and (zero_is_used or not hidden.any()):
        return None, False
    ids[hidden[ids]] = 0
    return ids, bool(hidden.any())


def background_colour(values: np.ndarray, indices: np.ndarray, *, tolerant: bool) -> int | None:
    """Which colour is the background: black, or else what most of the picture's rim shows.

    Args:
        values: ``(N, 3)`` uint8 colours of the mask.
        indices: ``(H, W)`` indices into ``values``.
        tolerant: near-black counts as black.
    """
    darkness = values.max(axis=1)
    if darkness.min() <= (_DARK if tolerant else 0):
        return int(darkness.argmin())
    rim = np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])
    return int(np.bincount(rim, minlength=len(values)).argmax())
