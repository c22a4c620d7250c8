"""Predicted frames beside the true ones: pictures of a comparison video, and a film strip."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["StripColumn", "error_picture", "film_strip", "side_by_side"]

_TEXT, _BAR, _GAP = 13, 22, 4
_PAPER, _INK, _NOTHING = 24, 235, 48
_LEAST, _MOST = 192, 640  # width of a panel in pixels, so that its title fits and a player copes
_CELL = 160  # about the width of a cell of the strip
_FULL_ERROR = 128  # levels that the brightest colour stands for


@dataclass(frozen=True, eq=False)
class StripColumn:
    """One moment of a film strip.

    Attributes:
        ahead: how many frames after the last observed one, from 1.
        prediction: ``(H, W, 3)`` or ``(H, W)`` uint8.
        truth: the same, or ``None`` where there is none.
    """

    ahead: int
    prediction: np.ndarray
    truth: np.ndarray | None


def error_picture(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Absolute difference, mean over the channels, from black (0) to bright yellow (128 levels or more).

    Args:
        prediction: ``(H, W, 3)`` or ``(H, W)`` uint8.
        truth: of the same shape.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    difference = np.abs(_rgb(prediction).astype(np.int16) - _rgb(truth)).mean(axis=2)
    levels = (difference * 255 / _FULL_ERROR).clip(0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB), dtype=np.uint8)


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
    factor = _factor(prediction.shape[1])
    middle = _titled(_scaled(prediction, factor), f"prediction, {ahead} ahead")
    if alone:
        return middle
    if truth is None:
        left = right = _titled(_empty(prediction, factor), "no truth")
    else:
        left = _titled(_scaled(truth, factor), "truth")
        right = _titled(_scaled(error_picture(prediction, truth), factor), "error")
    return _row([left, middle, right])


def film_strip(columns: Sequence[StripColumn]) -> np.ndarray:
    """Truth in the top row, prediction below, a column for each moment; titles say how far ahead.

    Args:
        columns: at least one. If none has a truth there is only the row of predictions; where one has none,
            its place is empty.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    factor = _strip_factor(columns[0].prediction.shape[1])
    titles = [f"{column.ahead} ahead" for column in columns]
    below = [_scaled(column.prediction, factor) for column in columns]
    if all(column.truth is None for column in columns):
        return _with_margin(
            [_row([_titled(*cell) for cell in zip(below, titles, strict=True)])], ["prediction"]
        )
    above = [
        _empty(column.prediction, factor) if column.truth is None else _scaled(column.truth, factor)
        for column in columns
    ]
    top = _row([_titled(*cell) for cell in zip(above, titles, strict=True)])
    return _with_margin([top, _row(below)], ["truth", "prediction"])


def _with_margin(rows: list[np.ndarray], names: list[str]) -> np.ndarray:
    """Rows below each other, the name of each to its left."""
    width = max(round(_font().getlength(name)) for name in names) + 4 * _GAP
    named = [
        np.concatenate([_text(name, row.shape[0], width), row], axis=1)
        for name, row in zip(names, rows, strict=True)
    ]
    gap = np.full((_GAP, named[0].shape[1], 3), _PAPER, np.uint8)
    return np.concatenate([part for row in named for part in (row, gap)][:-1])


def _row(panels: list[np.ndarray]) -> np.ndarray:
    gap = np.full((panels[0].shape[0], _GAP, 3), _PAPER, np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def _titled(panel: np.ndarray, title: str) -> np.ndarray:
    return np.concatenate([_text(title, _BAR, panel.shape[1]), panel])


@functools.lru_cache(maxsize=64)
def _text(text: str, height: int, width: int) -> np.ndarray:
    """``(height, width, 3)``: light on dark, in the middle."""
    picture = Image.new("L", (width, height), _PAPER)
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, fill=_INK, font=_font(), anchor="mm")
    return _rgb(np.asarray(picture))


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(_TEXT)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _factor(width: int) -> float:
    return math.ceil(_LEAST / width) if width < _LEAST else min(1.0, _MOST / width)


def _strip_factor(width: int) -> float:
    return max(1, round(_CELL / width)) if width < _CELL else _CELL / width


def _scaled(image: np.ndarray, factor: float) -> np.ndarray:
    image = _rgb(image)
    if factor == 1:
        return image
    kind = cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA
    height, width = _sides(image, factor)
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), dtype=np.uint8)


def _empty(image: np.ndarray, factor: float) -> np.ndarray:
    return np.full((*_sides(image, factor), 3), _NOTHING, np.uint8)


def _sides(image: np.ndarray, factor: float) -> tuple[int, int]:
    return max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
