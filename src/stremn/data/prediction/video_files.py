"""A video file that any frame can be read from: decoded in blocks, which are cached."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from stremn.data.prediction.random_access import FrameCache, Framing, Reel
from stremn.errors import StremnError

__all__ = ["VideoReel"]

_SHORT_BLOCK, _LONG_BLOCK = 64, 512
_UNTIMED = {"vp8", "libvpx"}  # some of their packets show nothing


class VideoReel(Reel):
    """A video file. It is decoded block by block, from key frame to key frame, and blocks are cached.

    Args:
        path: the file.
        name: for messages and tables; by default the file's.
        spans: see ``Reel``.
    """

    def __init__(
        self, path: Path, name: str | None = None, spans: Sequence[tuple[int, int]] | None = None
    ) -> None:
        """Take the names; the file is not opened yet."""
        super().__init__(name or path.stem, path, spans)

    @property
    def count(self) -> int:
        """Number of frames.

        Raises:
            StremnError: if the file is no video or holds no frame.
        """
        return len(self._stamps)

    @property
    def _stamps(self) -> list[int | None]:
        return self._table[0]

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

        stamps = self._stamps
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
