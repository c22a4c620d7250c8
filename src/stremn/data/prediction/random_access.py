"""Videos that any frame can be read from, at the size wanted, as fast as training needs."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from stremn.data.segmentation.images import read_rgb
from stremn.errors import StremnError

__all__ = ["FrameCache", "Framing", "ImageReel", "Reel"]


@dataclass(frozen=True)
class Framing:
    """How frames are brought to the size in which they are kept.

    Attributes:
        side: in pixels, of the shorter side, or of both if ``squash``.
        squash: give up the aspect, as the tables of KTH and Human3.6M do; else the longer side stays longer.
        grey: one channel instead of three.
    """

    side: int
    squash: bool = False
    grey: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """``(H, W, 3)`` uint8 RGB to ``(h, w, C)`` uint8."""
        height, width = image.shape[:2]
        short = min(height, width)
        size = [
            self.side if self.squash else max(self.side, round(n * self.side / short))
            for n in (width, height)
        ]
        if self.grey:
            image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        smaller = size[0] <= width and size[1] <= height
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return image.reshape(size[1], size[0], -1)


class FrameCache:
    """Decoded frames, the least recently used dropped when they exceed a number of bytes.

    Args:
        limit: bytes held at most, beside the block that is being read.
    """

    def __init__(self, limit: int) -> None:
        """Start empty."""
        self.limit, self.held = limit, 0
        self._items: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The frames of this key, made if they are not held."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key]
        frames = make()
        self._items[key] = frames
        self.held += frames.nbytes
        while self.held > self.limit and self._items:
            self.held -= self._items.popitem(last=False)[1].nbytes
        return frames


class Reel(ABC):
    """One video.

    Attributes:
        name: for messages and tables.
        path: file or folder.
        spans: ranges [first, end) of frames that a clip may be cut from; None for the whole.
    """

    def __init__(self, name: str, path: Path, spans: Sequence[tuple[int, int]] | None) -> None:
        self.name, self.path, self._spans = name, path, spans

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of frames.

        Raises:
            StremnError: if the video cannot be read.
        """

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Ranges [first, end) that a clip may be cut from, as far as there are frames."""
        whole = [(0, self.count)]
        spans = (
            whole if self._spans is None else [(first, min(end, self.count)) for first, end in self._spans]
        )
        return [span for span in spans if span[0] < span[1]]

    @abstractmethod
    def read(self, indices: Sequence[int], framing: Framing, cache: FrameCache) -> np.ndarray:
        """The frames of these indices, ``(T, h, w, C)`` uint8.

        Raises:
            StremnError: if one cannot be decoded or is of another size.
        """


class ImageReel(Reel):
    """A video kept as images.

    Args:
        name: for messages and tables.
        files: the frames in order, one or more.
        spans: see ``Reel``.
    """

    def __init__(
        self, name: str, files: Sequence[Path], spans: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Keep the names; no file is opened yet."""
        super().__init__(name, files[0].parent, spans)
        self.files = tuple(files)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.files)

    def read(self, indices: Sequence[int], framing: Framing, cache: FrameCache) -> np.ndarray:
        """The frames of these indices, ``(T, h, w, C)`` uint8, from the cache where they are in it."""
        files = [self.files[i] for i in indices]
        frames = [cache.get((file, framing), partial(_read_image, file, framing)) for file in files]
        for file, frame in zip(files, frames, strict=True):
            if frame.shape != frames[0].shape:
                raise StremnError(f"{file}: its shape differs from {files[0].name}; scale all frames alike")
        return np.stack(frames)


def _read_image(file: Path, framing: Framing) -> np.ndarray:
    return framing(read_rgb(file))
