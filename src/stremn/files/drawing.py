"""Pictures for people: objects over a frame, predicted frames beside the true ones, sheets of pictures."""

import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stremn.files.colours import PALETTE
from stremn.files.images import grey_to_rgb

__all__ = [
    "SheetRow",
    "StripColumn",
    "cell_factor",
    "displacement_picture",
    "film_strip",
    "overlay",
    "pen",
    "scaled",
    "sheet",
    "side_by_side",
    "source_picture",
]

# The palette, lifted: its dark tones would only dim the picture. Its steps stay apart.
LIFTED = np.interp(PALETTE, [0, 64, 128, 192, 224], [0, 110, 180, 235, 255]).round().astype(np.uint8)
_FILL = np.ascontiguousarray(LIFTED[:, None])
_LINE = (0.55 * _FILL.astype(np.float32) + 0.45 * 255).round().astype(np.uint8)
_MARGIN = 4

_TEXT, _BAR, _GAP = 13, 22, 4
_PAPER, _INK, _NOTHING = 24, 235, 48
_LEAST, _MOST = 192, 640  # width of a panel in pixels, so that its title fits and a player copes
_CELL = 160  # about the width of a cell of the strip
_FULL_ERROR = 128  # levels that the brightest colour stands for


def overlay(
    frame: np.ndarray, labels: np.ndarray, *, fill: bool = True, lost: Sequence[int] = ()
) -> np.ndarray:
    """Draw every object in its palette colour, half transparent, with a thin light contour.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB; not changed.
        labels: ``(H, W)`` uint8, 0 = background.
        fill: False draws the contours only, in the full colour.
        lost: objects that are said to be lost, each on a label of its colour in the upper left corner.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: if the sizes differ.
    """
    drawn = _objects(frame, labels, fill)
    height = max(_BAR, round(frame.shape[0] / 24))
    top = _GAP
    for object_id in lost:
        bar = _label(f"{object_id} lost?", height, tuple(LIFTED[object_id].tolist()))
        room = drawn[top : top + len(bar), _GAP : _GAP + bar.shape[1]]
        room[:] = bar[: room.shape[0], : room.shape[1]]
        top += height + _GAP
    return drawn


@functools.lru_cache(maxsize=64)
def _label(text: str, height: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Text on a colour, ``(height, w, 3)``, dark where the colour is light."""
    font = ImageFont.load_default(round(0.6 * height))
    picture = Image.new("RGB", (round(font.getlength(text)) + height, height), colour)
    ink = _PAPER if sum(colour) > 3 * 110 else _INK
    place = (picture.width / 2, height / 2)
    ImageDraw.Draw(picture).text(place, text, fill=(ink, ink, ink), font=font, anchor="mm")
    return np.asarray(picture)


def _objects(frame: np.ndarray, labels: np.ndarray, fill: bool) -> np.ndarray:
    import cv2

    if frame.shape[:2] != labels.shape:
        raise ValueError(f"labels are {labels.shape}, frame is {frame.shape[:2]}")
    drawn = frame.copy()
    left, top, width, height = cv2.boundingRect((labels > 0).view(np.uint8))
    if not width:
        return drawn
    rows = slice(max(top - _MARGIN, 0), top + height + _MARGIN)
    columns = slice(max(left - _MARGIN, 0), left + width + _MARGIN)
    part = np.ascontiguousarray(labels[rows, columns])
    below = np.ascontiguousarray(frame[rows, columns])
    objects = cv2.threshold(part, 0, 255, cv2.THRESH_BINARY)[1]
    window = drawn[rows, columns]
    if fill:
        cv2.copyTo(cv2.addWeighted(below, 0.5, cv2.applyColorMap(part, _FILL), 0.5, 0), objects, window)
    kernel = pen(frame.shape[:2])
    # Both extremes: where two objects meet, only one of them would have its line.
    rims = [cv2.compare(part, extreme(part, kernel), cv2.CMP_NE) for extreme in (cv2.erode, cv2.dilate)]
    rim = cv2.bitwise_and(cv2.bitwise_or(*rims), objects)
    cv2.copyTo(cv2.applyColorMap(part, _LINE if fill else _FILL), rim, window)
    return drawn


def pen(size: tuple[int, ...]) -> np.ndarray:
    """What contours on a frame (H, W) are drawn with: twice as wide on 960 rows, which looks as on 480."""
    import cv2

    reach = max(1, round(max(size) / 900))
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))


class StripColumn(NamedTuple):
    """One moment of a film strip: a prediction so many frames ahead, and the truth where there is one.

    Pictures are ``(H, W, 3)`` or ``(H, W)`` uint8; ``more`` are further ones by the names of their rows.
    """

    ahead: int
    prediction: np.ndarray
    truth: np.ndarray | None
    more: Mapping[str, np.ndarray] = MappingProxyType({})


def side_by_side(
    prediction: np.ndarray, truth: np.ndarray | None, *, ahead: int, alone: bool = False
) -> np.ndarray:
    """A frame of the comparison video: truth, prediction and error from left to right, each with its title.

    Small frames are enlarged by a whole factor, large ones reduced.

    Args:
        prediction: ``(H, W, 3)`` or ``(H, W)`` uint8.
        truth: the same, or ``None`` where there is none; its panel and that of the error are then empty.
        ahead: how many frames after the last observed one, from 1.
        alone: the prediction only, for a video without any truth.

    Returns:
        ``(h, w, 3)`` uint8 RGB, of one size for frames of one size.
    """
    width = prediction.shape[1]
    factor = math.ceil(_LEAST / width) if width < _LEAST else min(1.0, _MOST / width)
    middle = _titled(scaled(prediction, factor), f"prediction, {ahead} ahead")
    if alone:
        return middle
    if truth is None:
        left = right = _titled(_empty(prediction, factor), "no truth")
    else:
        left = _titled(scaled(truth, factor), "truth")
        right = _titled(scaled(_error(prediction, truth), factor), "error")
    return _joined([left, middle, right], axis=1)


def _error(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Absolute difference, mean over the channels, from black (0) to bright yellow (128 levels or more)."""
    import cv2

    difference = np.abs(grey_to_rgb(prediction).astype(np.int16) - grey_to_rgb(truth)).mean(axis=2)
    levels = (difference * 255 / _FULL_ERROR).clip(0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def film_strip(columns: Sequence[StripColumn]) -> np.ndarray:
    """Truth, prediction, error and more as rows, a column for each moment; titles say how far ahead.

    Args:
        columns: at least one. If none has a truth there is only the row of predictions; where one has none,
            its place is empty.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    titles = [f"{column.ahead} ahead" for column in columns]
    rows: dict[str, list[np.ndarray | None]] = {"prediction": [column.prediction for column in columns]}
    if any(column.truth is not None for column in columns):
        rows = {"truth": [column.truth for column in columns], **rows}
        rows["error"] = [None if c.truth is None else _error(c.prediction, c.truth) for c in columns]
    rows |= {name: [column.more[name] for column in columns] for name in columns[0].more}
    factor = cell_factor(columns[0].prediction.shape[1])
    lines: list[SheetRow] = []
    for name, pictures in rows.items():
        cells = [None if picture is None else scaled(picture, factor) for picture in pictures]
        lines.append(SheetRow(name, cells, () if lines else titles))
    return sheet(lines)


def displacement_picture(displacement: np.ndarray) -> np.ndarray:
    """Directions as hues, and lengths as brightness: full at the longest, or at a pixel if that is longer.

    Args:
        displacement: ``(H, W, 2)`` float32, x then y, in pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    import cv2

    x, y = np.moveaxis(displacement, 2, 0)
    length, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x)) % 360
    bright = length * (255 / max(1.0, float(length.max())))
    hsv = np.stack([angle / 2, np.full_like(length, 200), bright], axis=2).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)


def source_picture(picture: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The picture in grey where it was read from the latest frame, in colour where from slots.

    Each place has the colour of the slot that it was read from most, from the palette, as strong as the share
    of all slots.

    Args:
        picture: ``(H, W, 3)`` or ``(H, W)`` uint8.
        shares: of the latest frame and K slots ``(H, W, 1 + K)`` float32, whose sum is 1.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    light = picture.reshape(*picture.shape[:2], -1).mean(axis=2, keepdims=True)
    slots = shares[..., 1:]
    colour = LIFTED[1 + slots.argmax(axis=2)] * (0.3 + 0.7 * light / 255)
    share = slots.sum(axis=2, keepdims=True)
    return np.asarray(((1 - share) * 0.7 * light + share * colour).round().clip(0, 255).astype(np.uint8))


class SheetRow(NamedTuple):
    """A row of :func:`sheet`.

    Attributes:
        name: of one or more lines, for the margin.
        cells: pictures ``(h, w, 3)`` uint8 of one size, at least one; ``None`` is an empty place.
        titles: one above each cell, or none at all.
    """

    name: str
    cells: Sequence[np.ndarray | None]
    titles: Sequence[str] = ()


def sheet(rows: Sequence[SheetRow]) -> np.ndarray:
    """Rows of pictures below each other, their names in a margin on the left.

    Args:
        rows: at least one; those with fewer cells end earlier.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    words = [line for row in rows for line in row.name.split("\n")]
    margin = max(round(_font().getlength(word)) for word in words) + 4 * _GAP
    pictures = []
    for row in rows:
        shape = next(cell.shape for cell in row.cells if cell is not None)
        cells = [np.full(shape, _NOTHING, np.uint8) if cell is None else cell for cell in row.cells]
        if row.titles:
            cells = [_titled(cell, title) for cell, title in zip(cells, row.titles, strict=True)]
        line = _joined(cells, axis=1)
        pictures.append(np.concatenate([_text(row.name, line.shape[0], margin), line], axis=1))
    width = max(picture.shape[1] for picture in pictures)
    ends = [((0, 0), (0, width - picture.shape[1]), (0, 0)) for picture in pictures]
    return _joined([np.pad(p, e, constant_values=_PAPER) for p, e in zip(pictures, ends)], axis=0)


def cell_factor(width: int) -> float:
    """By which a picture is scaled to be a cell of about the usual width, a small one by a whole factor."""
    return max(1, round(_CELL / width)) if width < _CELL else _CELL / width


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Pictures below (0) or beside (1) each other, with gaps between."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, _PAPER, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=axis)


def _titled(panel: np.ndarray, title: str) -> np.ndarray:
    return np.concatenate([_text(title, _BAR, panel.shape[1]), panel])


@functools.lru_cache(maxsize=64)
def _text(text: str, height: int, width: int) -> np.ndarray:
    """``(height, width, 3)``: light on dark, in the middle."""
    picture = Image.new("L", (width, height), _PAPER)
    place = (width / 2, height / 2)
    ImageDraw.Draw(picture).text(place, text, fill=_INK, font=_font(), anchor="mm", align="center")
    return grey_to_rgb(np.asarray(picture))


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(_TEXT)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    """A picture ``(H, W, 3)`` or ``(H, W)`` uint8 enlarged or reduced, as RGB ``(h, w, 3)``."""
    import cv2

    image = grey_to_rgb(image)
    if factor == 1:
        return image
    kind = cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA
    height, width = _sides(image, factor)
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), dtype=np.uint8)


def _empty(image: np.ndarray, factor: float) -> np.ndarray:
    return np.full((*_sides(image, factor), 3), _NOTHING, np.uint8)


def _sides(image: np.ndarray, factor: float) -> tuple[int, int]:
    return max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))
