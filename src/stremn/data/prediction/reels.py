"""Videos that any frame can be read from, at the size wanted, as fast as training needs."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np

from stremn.data.segmentation.images import read_rgb
from stremn.errors import StremnError

__all__ = ["FrameCache", "Framing", "ImageReel", "Reel", "VideoReel"]


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
        count = self.count
        spans = [(0, count)] if self._spans is None else self._spans
        return [(first, min(end, count)) for first, end in spans if first < min(end, count)]

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


_SHORT_BLOCK, _LONG_BLOCK = 64, 512
_UNTIMED = {"vp8", "libvpx"}  # some of their packets show nothing


class VideoReel(Reel):
    """A video file, decoded block by block, from key frame to key frame; blocks are cached.

    Args:
        path: the file.
        name: for messages and tables; by default the file's.
        spans: see ``Reel``.
    """

    def __init__(
        self, path: Path, name: str | None = None, spans: Sequence[tuple[int, int]] | None = None
    ) -> None:
        super().__init__(name or path.stem, path, spans)

    @property
    def count(self) -> int:
        """Number of frames, for which the file is scanned.

        Raises:
            StremnError: if the file is no video or holds no frame.
        """
        return len(self._table[0])

    @cached_property
    def _table(self) -> tuple[list[int | None], list[int]]:
        """Time stamps of all frames in order, and where blocks begin."""
        stamps, keys = self._scan()
        starts = [0]
        for index in range(1, len(stamps)):
            length = index - starts[-1]
            if (index in keys and length >= _SHORT_BLOCK) or length >= _LONG_BLOCK:
                starts.append(index)
        return stamps, starts

    def _scan(self) -> tuple[list[int | None], set[int]]:
        """Stamps and key frames from the packets; by decoding where these do not tell."""
        from stremn.files.source import PagesSource
        from stremn.files.videos import VIDEO_ERRORS, open_video

        if self.path.is_file() and PagesSource.reads(self.path):
            raise StremnError(f"{self.path}: pages of a picture; convert it to a video or a folder of frames")
        try:
            container, stream = open_video(self.path)
            with container:
                packets = [
                    (packet.pts, packet.is_keyframe)
                    for packet in container.demux(stream)
                    if packet.size and not packet.is_discard
                ]
                known = sorted(pts for pts, _ in packets if pts is not None)
                sure = len(set(known)) == len(packets) and stream.codec_context.name not in _UNTIMED
                if sure and packets:
                    place = {stamp: index for index, stamp in enumerate(known)}
                    return list(known), {place[pts] for pts, key in packets if key and pts is not None}
            container, stream = open_video(self.path)
            with container:
                stamps = [frame.pts for frame in container.decode(stream)]
        except VIDEO_ERRORS as error:
            raise self._damaged("its packets") from error
        if not stamps:
            raise self._damaged("any frame")
        timed = len(set(stamps)) == len(stamps) and None not in stamps
        return stamps if timed else [None] * len(stamps), set()

    def _damaged(self, what: str) -> StremnError:
        return StremnError(
            f"{self.path}: {what} cannot be decoded, the video is damaged; export it again or remove it"
        )

    def read(self, indices: Sequence[int], framing: Framing, cache: FrameCache) -> np.ndarray:
        """The frames of these indices, ``(T, h, w, C)`` uint8, decoded block by block."""
        starts = self._table[1]
        frames = []
        for index in indices:
            block = bisect_right(starts, index) - 1
            first, end = starts[block], [*starts, self.count][block + 1]
            held = cache.get((self.path, framing, first), partial(self._block, first, end, framing))
            frames.append(held[index - first])
        return np.stack(frames)

    def _block(self, first: int, end: int, framing: Framing) -> np.ndarray:
        """Frames [first, end), ``(end - first, h, w, C)`` uint8."""
        for seek in (True, False) if first else (False,):
            frames = self._decode(first, end, framing, seek)
            known = [frame for frame in frames if frame is not None]
            if len(known) == len(frames):
                return np.stack(known)
        raise self._damaged(f"frame {first + [frame is None for frame in frames].index(True)}")

    def _decode(self, first: int, end: int, framing: Framing, seek: bool) -> list[np.ndarray | None]:
        from stremn.files.videos import VIDEO_ERRORS, open_video, picture

        stamps, _ = self._table
        place = {stamp: index for index, stamp in enumerate(stamps) if stamp is not None}
        frames: list[np.ndarray | None] = [None] * (end - first)
        try:
            container, stream = open_video(self.path)
            with container:
                stream.thread_type = "AUTO"
                if seek and (stamp := stamps[first]) is not None:
                    container.seek(stamp, stream=stream)
                for order, raw in enumerate(container.decode(stream)):
                    index = order if not place or raw.pts is None else place.get(raw.pts, -1)
                    if index >= end:
                        break
                    # After a jump a frame may lack what it builds on; from the start it does not.
                    if index >= first and not raw.is_corrupt:
                        frames[index - first] = framing(picture(raw).pixels)
        except VIDEO_ERRORS:
            return frames
        sizes = {frame.shape for frame in frames if frame is not None}
        if len(sizes) > 1:
            raise StremnError(f"{self.path}: frames change their size; split the video there")
        return frames
