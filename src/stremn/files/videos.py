"""Video files, decoded by PyAV: how they are opened, and a source of frames as far as the stream holds."""

import heapq
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.stream import VideoStream

from stremn.errors import StremnError
from stremn.files.frames import MAX_RATE, Frame, FrameSource
from stremn.files.images import ORIENTATIONS, UNREADABLE, Picture, upright

__all__ = ["VIDEO_ERRORS", "VideoSource", "open_video", "picture", "picture_stream", "stream_rate"]

VIDEO_ERRORS = (av.error.FFmpegError, AttributeError, *UNREADABLE)
"""What PyAV raises on damaged files; by far not all of it is an OSError."""

# FFmpeg renders text files and still images as videos; a user who passes one has made a mistake.
_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf", "srt", "ass", "webvtt", "microdvd", "lrc"}
_MAX_DEMUX_ERRORS = 50
_MISSING_TAIL = 0.5  # seconds between the last frame and the declared end that mean a cut-off file
_MOST_PIXEL_ASPECT = 10

# FFmpeg's numbers: colour spaces that are, or by default are read as, BT.601; range 2 is full.
_BT601 = {2, 5, 6}
_FULL_RANGE = 2


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a video file: the container, which the caller closes, and its stream of pictures.

    Raises:
        StremnError: if it cannot be read, is not a video, or holds no stream of pictures.
    """
    _check_file(path)
    try:
        # FFmpeg takes what stands before a colon in a relative path for a protocol.
        container = av.open(os.path.abspath(path), metadata_errors="replace")
    except VIDEO_ERRORS as error:
        raise StremnError(f"{path} is not a video, or is cut off before its index: {_ELSE_GIVE}") from error
    return container, picture_stream(container, str(path))


def _check_file(path: Path) -> None:
    try:
        if not path.is_file():
            raise StremnError(
                f"{path} is a pipe or a device, and a video is read more than once: save it to a file first, "
                "or give camera:0 for a camera"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise StremnError(f"{path} is empty: {_ELSE_GIVE}")
    except OSError as error:
        raise StremnError(f"cannot read {path}: {os.strerror(error.errno or 0)}, make it readable") from error


_ELSE_GIVE = "give a video file, or a folder of frames"


def picture_stream(container: InputContainer, shown: str, *, device: bool = False) -> VideoStream:
    """The stream of pictures, past those of the cover; without one the container is closed.

    Raises:
        StremnError: if there is none, or it cannot be decoded; it begins with ``shown``.
    """
    kind = container.format.name
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    streams.sort(key=lambda stream: stream.frames == 1)  # the still of a moving AVIF comes first
    if kind in _TEXT_FORMATS:
        fault = f"is not a video: {_ELSE_GIVE}"
    elif not device and (kind == "image2" or kind.endswith("_pipe")):
        fault = "is a still image: give a video file, or the folder of frames"
    elif not streams:
        fault = f"holds no video stream: {_ELSE_GIVE}"
    elif getattr(streams[0], "codec_context", None) is None:  # where FFmpeg lacks the decoder
        fault = "is coded in a way that is not known here: convert it to H.264"
    else:
        return streams[0]
    container.close()
    raise StremnError(f"{shown} {fault}")


def _orientation(frame: av.VideoFrame) -> int:
    """The EXIF orientation, from 1 to 8, that stands for the display matrix of a decoded frame.

    The matrix says x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
    """
    container: Any = frame.side_data  # its stubs know strings only
    if Type.DISPLAYMATRIX not in container.keys():  # noqa: SIM118
        return 1
    matrix = bytes(memoryview(container[Type.DISPLAYMATRIX]))
    a, b, _, c, d = (int(v) for v in np.frombuffer(matrix, dtype=np.int32, count=5))
    swap = abs(b) > abs(a)
    return ORIENTATIONS[(swap, c < 0, b < 0) if swap else (False, a < 0, d < 0)]


def picture(frame: av.VideoFrame) -> Picture:
    """A decoded frame, turned and mirrored as the container asks."""
    orientation = _orientation(frame)
    return Picture(upright(_rgb(frame), orientation), orientation)


def _rgb(frame: av.VideoFrame) -> np.ndarray:
    # OpenCV's conversion takes a fraction of the time of FFmpeg's scaler, but knows one kind only.
    plain = frame.format.name == "yuv420p" and frame.width % 2 == 0 and frame.height % 2 == 0
    if plain and frame.colorspace in _BT601 and frame.color_range != _FULL_RANGE:
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420))
    return np.asarray(frame.to_ndarray(format="rgb24"))


class VideoSource(FrameSource):
    """The frames of a video file, upright, named by their index in five digits.

    Damage inside the stream is skipped: what decodes is yielded, the rest is counted in ``lost_frames``,
    and indices stay aligned with the original wherever the container's time stamps allow it.

    Raises:
        StremnError: if the file is empty, not a video, or holds no stream of pictures.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self.path = path
        container, stream = open_video(path)
        with container:
            self.frame_rate = stream_rate(stream)
            seconds = _declared_seconds(container, stream)
            by_time = round(seconds * self.frame_rate) if seconds and self.frame_rate else None
            self.frame_count = stream.frames or by_time or None
            aspect = stream.sample_aspect_ratio
            if aspect and 1 / _MOST_PIXEL_ASPECT <= aspect <= _MOST_PIXEL_ASPECT:
                self.pixel_aspect = Fraction(aspect)
        # Time stamp and index of the frames as they came, and which of them are key frames.
        self._stamps, self._indices, self._keys = array("q"), array("q"), array("q")

    def _decode(self, start: int = 0) -> Iterator[Frame]:
        container, stream = open_video(self.path)
        with container:
            stream.thread_type = "AUTO"
            if start and (key := self._key_before(start)):
                yield from self._decode_from(container, stream, key, start)
                return
            ledger = _Ledger()
            delivered = 0
            for packet in _packets(container, stream, ledger):
                ledger.expect(packet)
                try:
                    decoded = packet.decode()
                except VIDEO_ERRORS:
                    ledger.errors += 1
                    continue
                for raw in decoded:
                    lost = ledger.deliver(raw)
                    if lost is None:
                        continue
                    self.lost_frames += lost
                    index = delivered + self.lost_frames
                    self._note(delivered, index, raw)
                    if index < start:
                        delivered += 1
                        continue
                    try:
                        image, orientation = picture(raw)
                    except VIDEO_ERRORS:
                        self.lost_frames += 1
                        continue
                    yield Frame(index, f"{index:05d}", image, orientation)
                    del image
                    delivered += 1
            self.lost_frames += ledger.undelivered()
            self._count_missing(container, stream, ledger, delivered)

    def _note(self, delivered: int, index: int, raw: av.VideoFrame) -> None:
        """Where a frame is found again, if it is the first time that the file is read so far."""
        if delivered != len(self._stamps):
            return
        if raw.pts is None or (delivered and raw.pts <= self._stamps[-1]):
            self._keys = array("q")  # nothing can be found by such stamps
            return
        if raw.key_frame:
            self._keys.append(delivered)
        self._stamps.append(raw.pts)
        self._indices.append(index)

    def _key_before(self, start: int) -> int:
        """Position among the stamps of the last key frame before an index, as far as the file was read."""
        place = bisect_right(self._indices, start) - 1
        known = bisect_right(self._keys, place) - 1
        return self._keys[known] if known >= 0 else 0

    def _decode_from(
        self, container: InputContainer, stream: VideoStream, key: int, start: int
    ) -> Iterator[Frame]:
        """The frames from the index ``start`` on, as far as the stamps go, decoded from a key frame on."""
        found = False
        with suppress(*VIDEO_ERRORS):
            container.seek(self._stamps[key], stream=stream)
        for packet in _packets(container, stream, _Ledger()):
            try:
                decoded = packet.decode()
            except VIDEO_ERRORS:
                continue
            for raw in decoded:
                # Frames before the key frame lack what they refer to.
                if raw.pts is None or raw.pts < self._stamps[key]:
                    continue
                if not found and raw.pts > self._stamps[key]:  # led elsewhere, as it would again
                    self._keys = array("q")
                    yield from self._decode(start)
                    return
                found = True
                if raw.pts > self._stamps[-1]:
                    return
                place = bisect_left(self._stamps, raw.pts)
                if self._stamps[place] != raw.pts or self._indices[place] < start:
                    continue
                with suppress(*VIDEO_ERRORS):
                    image, orientation = picture(raw)
                    index = self._indices[place]
                    yield Frame(index, f"{index:05d}", image, orientation)
                    del image

    def _count_missing(
        self, container: InputContainer, stream: VideoStream, ledger: "_Ledger", delivered: int
    ) -> None:
        """Add the frames whose packets never came out of the damaged container."""
        seconds = _declared_seconds(container, stream)
        cut_off = (
            seconds is not None
            and ledger.last_time is not None
            and (seconds - ledger.last_time > _MISSING_TAIL + float(1 / (self.frame_rate or 25)))
        )
        damaged = bool(ledger.errors or self.lost_frames or ledger.corrupt)
        if (cut_off or damaged) and self.frame_count:
            self.lost_frames = max(self.lost_frames, self.frame_count - delivered)
        self.lost_frames = max(self.lost_frames, ledger.errors if not ledger.timed else 0)


def stream_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second by the header, exact, or ``None`` where it holds nonsense."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= MAX_RATE:
            return Fraction(rate)
    return None


def _declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the picture stream by the headers, in seconds; ``None`` where they do not say."""
    lengths = []
    if stream.duration and stream.time_base:
        lengths.append(float(stream.duration * stream.time_base))
    elif tag := stream.metadata.get("DURATION"):  # Matroska
        with suppress(ValueError):
            hours, minutes, seconds = tag.split(":")
            lengths.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    if container.duration and (lengths or len(container.streams) == 1):
        lengths.append(container.duration / 1_000_000)
    return min(lengths) if lengths else None


def _packets(container: InputContainer, stream: VideoStream, ledger: "_Ledger") -> Iterator[av.Packet]:
    """All packets of a stream, the closing empty one included, past errors of the container."""
    for _ in range(_MAX_DEMUX_ERRORS):
        try:
            yield from container.demux(stream)
            return
        except VIDEO_ERRORS:
            ledger.errors += 1


class _Ledger:
    """Which packets became frames, by time stamp: decoders drop damaged ones silently."""

    def __init__(self) -> None:
        self.errors = 0
        self.corrupt = False
        self.timed = True
        self.last_time: float | None = None
        self._origin: float | None = None
        self._started = False
        self._last_pts: int | None = None
        self._waiting: list[int] = []

    def expect(self, packet: av.Packet) -> None:
        if packet.size == 0 or packet.is_discard or _is_hidden(packet):
            return
        self.corrupt |= bool(packet.is_corrupt)
        if packet.pts is None:
            self.timed = False
        elif self.timed:
            heapq.heappush(self._waiting, packet.pts)

    def deliver(self, frame: av.VideoFrame) -> int | None:
        """How many frames were lost just before this one; ``None`` if it is late and was counted as lost."""
        self.corrupt |= bool(frame.is_corrupt)
        late = frame.pts is not None and self._last_pts is not None and frame.pts < self._last_pts
        if late and self.errors:
            return None
        self._last_pts = frame.pts
        # Stamps that run backwards in a sound stream are no ground to count on.
        self.timed &= frame.pts is not None and not late
        if not self.timed or frame.pts is None:
            self._waiting.clear()
            return 0
        if frame.time is not None:
            self._origin = frame.time if self._origin is None else self._origin
            self.last_time = frame.time - self._origin
        lost = 0
        while self._waiting and self._waiting[0] <= frame.pts:
            lost += heapq.heappop(self._waiting) < frame.pts
        # A cut at an open group of pictures leaves leading packets without reference: no damage.
        if not self._started and not self.errors:
            lost = 0
        self._started = True
        return lost

    def undelivered(self) -> int:
        return len(self._waiting) if self.timed else 0


def _is_hidden(packet: av.Packet) -> bool:
    """Whether a VP8 packet only updates a reference and shows nothing (bit 4 of the frame tag)."""
    return packet.stream.codec_context.name in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10
