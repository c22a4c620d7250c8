"""What every source of frames has in common."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from types import TracebackType
from typing import Self

import numpy as np

from stremn.errors import StremnError

__all__ = ["MAX_RATE", "Frame", "FrameSource", "log"]

log = logging.getLogger("stremn")

BACKWARD_BYTES = 64 * 2**20
"""Of the frames that are held at once where a source is read backward."""

MAX_RATE = 480
"""Frames per second; beyond it a header gives its clock, not a frame rate."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Frame:
    """One frame of a source.

    Attributes:
        index: position in the source from 0; frames that were lost keep their numbers.
        name: the name its mask is saved under: the file's stem, or the index in five digits.
        image: ``(H, W, 3)`` uint8, RGB, upright.
        orientation: by EXIF, from 1 to 8, that was undone to have it upright; 1 is upright in the file.
    """

    index: int
    name: str
    image: np.ndarray
    orientation: int = 1


class FrameSource(ABC):
    """Frames in order, one at a time: an iterable and a context manager.

    Attributes:
        name: short name for messages.
        frame_rate: frames per second, exact; ``None`` where the source has none.
        frame_count: number of frames, from the header, so an estimate; ``None`` when unknown.
        frame_names: names of all frames where they are known beforehand (folders), else ``None``.
        pixel_aspect: width of a pixel by its height; 1 for square ones.
        lost_frames: frames that could not be decoded so far.
        live: whether frames come in their own time; others are there at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.frame_rate: Fraction | None = None
        self.frame_count: int | None = None
        self.frame_names: tuple[str, ...] | None = None
        self.pixel_aspect = Fraction(1)
        self.lost_frames = 0
        self.live = False

    @abstractmethod
    def _decode(self, start: int = 0) -> Iterator[Frame]:
        """Yield the frames from this index on that decode, adding the others to ``lost_frames``."""

    def backward(self, last: int) -> Iterator[Frame]:
        """Yield the frames from the index ``last`` down to the first.

        They are decoded forward, as many at a time as :data:`BACKWARD_BYTES` holds: of a video from the key
        frame before them, so that of one with few key frames much is decoded again and again.

        Args:
            last: index of the frame to begin with; lost frames are left out, and not counted again.

        Raises:
            StremnError: if there is no such frame, or it cannot be decoded.
        """
        end, most = last + 1, 1
        while end > 0:
            start = max(0, end - most)
            window = self._decode_range(start, end)
            if end > last and not window:
                raise self.no_frame(last)
            if window:
                most = max(1, BACKWARD_BYTES // window[0].image.nbytes)
            while window:
                yield window.pop()
            end = start

    def no_frame(self, index: int) -> StremnError:
        """What to say where a frame was asked for that does not come."""
        return StremnError(f"{self.name} has no frame {index}, or it cannot be decoded: choose another one")

    def _decode_range(self, start: int, end: int) -> list[Frame]:
        lost, self.lost_frames = self.lost_frames, 0
        try:
            return list(takewhile(lambda frame: frame.index < end, self._decode(start)))
        finally:
            self.lost_frames = lost

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; no past frame is kept.

        Raises:
            StremnError: if a frame's size differs from the first one's, or nothing decodes.
        """
        self.lost_frames = 0
        first: tuple[str, str] | None = None
        try:
            for frame in self._decode():
                size = f"{frame.image.shape[1]}x{frame.image.shape[0]}"
                first = first or (frame.name, size)
                if size != first[1]:
                    raise StremnError(
                        f"frame {frame.name} of {self.name} is {size}, frame {first[0]} is {first[1]}: "
                        "scale all frames to one size, or split the source there"
                    )
                yield frame
                del frame  # or the last frame would live on while the next one is decoded
        finally:
            if self.lost_frames and first:
                self._report_losses()
        if first is None:
            raise StremnError(
                f"no frame of {self.name} can be decoded: the source is damaged, export it again"
            )

    def _report_losses(self) -> None:
        total = f" of {self.frame_count}" if self.frame_count else ""
        frames = "frame" if self.lost_frames == 1 and not total else "frames"
        left = f"could not be decoded and {'is' if self.lost_frames == 1 else 'are'} left out"
        log.warning("%s: %d%s %s %s", self.name, self.lost_frames, total, frames, left)

    def close(self) -> None:  # noqa: B027  (most sources hold nothing between iterations)
        """Let go of the device or file; calling it twice does no harm."""

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the source."""
        self.close()
