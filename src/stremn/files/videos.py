"""A video file as a source of frames, decoded by PyAV as far as the stream holds."""

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from stremn.errors import StremnError
from stremn.files.frames import Frame, FrameSource
from stremn.files.pictures import picture

__all__ = ["VideoSource"]

# FFmpeg renders text files and still images as videos; a user who passes one has made a mistake.
_TEXT_FORMATS = {"tty", "bin", "xbin", "adf", "idf", "srt", "ass", "webvtt", "microdvd", "lrc"}
_MAX_RATE = 480  # beyond it the header gives its clock, not a frame rate
_MAX_DEMUX_ERRORS = 50
_MISSING_TAIL = 0.5  # seconds between the last frame and the declared end that mean a cut-off file


class VideoSource(FrameSource):
    """The frames of a video file, upright, named by their index in five digits.

    Damage inside the stream is skipped: what decodes is yielded, the rest is counted in `lost_frames`,
    and indices stay aligned with the original wherever the container's time stamps allow it.

    Raises StremnError when the file is empty, not a video, or holds no picture stream.
    """

    def __init__(self, path: Path) -> None:
        """Read the headers; decoding starts with the iteration."""
        super().__init__(path.name)
        self.path = path
        if path.is_file() and path.stat().st_size == 0:
            raise StremnError(f"{path} is empty: give a video file, or a folder of frames")
        with self._open() as container:
            stream = self._stream(container)
            self.frame_rate = frame_rate(stream)
            self.frame_count = stream.frames or self._count_by_time(container, stream)

    def _open(self) -> InputContainer:
        try:
            return av.open(str(self.path), metadata_errors="replace")
        except PermissionError:
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise StremnError(
                f"{self.path} is not a video, or is cut off before its index: give a video file, "
                "or a folder of frames"
            ) from error

    def _stream(self, container: InputContainer) -> VideoStream:
        format_names = container.format.name
        if format_names in _TEXT_FORMATS:
            raise StremnError(f"{self.path} is not a video: give a video file, or a folder of frames")
        if format_names == "image2" or format_names.endswith("_pipe"):
            raise StremnError(f"{self.path} is a still image: give a video file, or the folder of frames")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise StremnError(f"{self.path} holds no video stream: give a video file, or a folder of frames")
        return streams[0]

    def _count_by_time(self, container: InputContainer, stream: VideoStream) -> int | None:
        seconds = declared_seconds(container, stream)
        return round(seconds * self.frame_rate) or None if seconds and self.frame_rate else None

    def _decode(self) -> Iterator[Frame]:
        with self._open() as container:
            stream = self._stream(container)
            stream.thread_type = "AUTO"
            ledger = _Ledger()
            delivered = 0
            for packet in _packets(container, stream, ledger):
                ledger.expect(packet)
                try:
                    decoded = packet.decode()
                except av.error.FFmpegError:
                    ledger.errors += 1
                    continue
                for raw in decoded:
                    lost = ledger.deliver(raw)
                    if lost is None:
                        continue
                    self.lost_frames += lost
                    index = delivered + self.lost_frames
                    yield Frame(index, f"{index:05d}", picture(raw))
                    delivered += 1
            self.lost_frames += ledger.undelivered()
            self._count_missing(container, stream, ledger, delivered)

    def _count_missing(
        self, container: InputContainer, stream: VideoStream, ledger: "_Ledger", delivered: int
    ) -> None:
        """Add the frames whose packets never came out of the damaged container."""
        seconds = declared_seconds(container, stream)
        cut_off = (
            seconds is not None
            and ledger.last_time is not None
            and (seconds - ledger.last_time > _MISSING_TAIL + float(1 / (self.frame_rate or 25)))
        )
        damaged = bool(ledger.errors or self.lost_frames or ledger.corrupt)
        if (cut_off or damaged) and self.frame_count:
            self.lost_frames = max(self.lost_frames, self.frame_count - delivered)
        self.lost_frames = max(self.lost_frames, ledger.errors if not ledger.timed else 0)


def frame_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second by the header, exact, or None where it holds nonsense."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _MAX_RATE:
            return Fraction(rate)
    return None


def declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the picture stream by the headers, in seconds; None where they do not say."""
    lengths = []
    if stream.duration and stream.time_base:
        lengths.append(float(stream.duration * stream.time_base))
    elif tag := stream.metadata.get("DURATION"):  # Matroska
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
        except av.error.FFmpegError:
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
        """Take note of a decoded frame; returns how many frames were lost just before it.

        Returns None for a frame out of order after damage: it has been counted as lost.
        """
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
