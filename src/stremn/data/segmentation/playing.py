"""A sequence as it is played: once, or forth and back until it is long."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stremn.data.segmentation.images import read_rgb
from stremn.data.segmentation.videos import Video
from stremn.files import Legend, read_mask
from stremn.files.images import read_orientation

__all__ = ["PlayedFrame", "new_objects", "play", "played_frames"]


@dataclass(frozen=True)
class PlayedFrame:
    """A frame as it is played.

    Attributes:
        path: its image file.
        image: ``(H, W, 3)`` uint8 RGB.
        truth: label map ``(H, W)`` uint8, ``None`` where the frame has no annotation.
    """

    path: Path
    image: np.ndarray
    truth: np.ndarray | None


def play(sequence: Video, least: int = 0) -> Iterator[PlayedFrame]:
    """The frames of a sequence in the order in which they are shown, read one by one.

    Args:
        sequence: frames and annotations.
        least: if the sequence has fewer frames it is played forth and back, in whole passes and without
            showing the frame at which it turns twice, until at least so many were shown.

    Raises:
        StremnError: if a file cannot be read.
    """
    legend = Legend()
    for index in _order(len(sequence.frames), least):
        path = sequence.frames[index]
        image = read_rgb(path)
        size = (image.shape[0], image.shape[1])
        mask, truth = sequence.mask_of(path), None
        if mask is not None:
            orientation = read_orientation(path)
            read = read_mask(mask, size=size, orientation=orientation, allow_empty=True, legend=legend)
            truth = read.labels
        yield PlayedFrame(path, image, truth)


def played_frames(sequence: Video, least: int = 0) -> int:
    """How many frames :func:`play` shows."""
    count = len(sequence.frames)
    return count + _passes_back(count, least) * (count - 1)


def new_objects(truth: np.ndarray | None, known: Iterable[int]) -> np.ndarray | None:
    """The part of an annotation that shows objects for the first time; 255 beside other ids is void.

    Args:
        truth: label map ``(H, W)`` of a frame, if it is annotated.
        known: ids that are followed already.

    Returns:
        Label map of the new objects only; ``None`` if there are none.
    """
    if truth is None:
        return None
    truth, _ = Legend().without_void(truth)
    new = np.where(np.isin(truth, list(known)), 0, truth)
    return new if new.any() else None


def _passes_back(count: int, least: int) -> int:
    """Passes after the first; each adds ``count - 1`` frames, as the frame it turns at was shown."""
    return max(0, -(-(least - count) // (count - 1))) if count > 1 else 0


def _order(count: int, least: int) -> Iterator[int]:
    yield from range(count)
    for number in range(_passes_back(count, least)):
        yield from range(1, count) if number % 2 else range(count - 2, -1, -1)
