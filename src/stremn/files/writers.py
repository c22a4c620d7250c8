"""Video and table files that a run leaves behind."""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

import numpy as np

from stremn.errors import StremnError
from stremn.files.outputs import part_name, write_error

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["TableWriter", "VideoWriter"]

_DEFAULT_RATE = Fraction(25)
_BT601, _LIMITED_RANGE = 6, 1


class VideoWriter:
    """Writes frames as a video file, H.264 in MP4; a context manager.

    The file grows under a hidden name and gets its own when it is complete, after an interruption too: it
    then ends with the last frame written. If it cannot be completed it is removed. Without a single frame
    there is no file.

    Subclasses write other formats: ``_format``, ``_picture`` and ``_add_stream`` are all that differs.

    Args:
        path: the file to be.
        frame_rate: frames per second; ``None`` means 25.
        pixel_aspect: width of a pixel by its height, for players.
    """

    _format = "mp4"

    def __init__(
        self, path: str | Path, frame_rate: Fraction | float | None, pixel_aspect: Fraction | float = 1
    ) -> None:
        self.path = Path(path)
        rate = Fraction(frame_rate) if frame_rate else _DEFAULT_RATE
        # Slow motion pictures of hours have less than a frame in 1001 seconds, MP4 files have not.
        self._rate = max(rate.limit_denominator(1001), Fraction(1, 1001))
        self._pixel_aspect = Fraction(pixel_aspect).limit_denominator(1001)
        self._part = part_name(self.path)
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._size: tuple[int, ...] | None = None
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, ``(H, W, 3)`` uint8 RGB.

        Raises:
            StremnError: if the disk is full, the folder cannot be written to, or the encoder refuses.
            ValueError: if the size differs from the first frame's.
        """
        if self._size not in (None, frame.shape[:2]):
            raise ValueError(f"frame is {frame.shape[:2]}, the video is {self._size}")
        picture = self._picture(np.ascontiguousarray(frame))
        with self._complete_or_gone():
            self._output = self._output or self._open(picture.height, picture.width)
            container, stream = self._output
            picture.pts, picture.time_base = self._count, 1 / self._rate
            container.mux(stream.encode(picture))
        self._size = frame.shape[:2]
        self._count += 1

    def _picture(self, frame: np.ndarray) -> "VideoFrame":
        """The frame as the codec takes it."""
        import av
        import cv2

        # 4:2:0 video has even sides: one more row or column, like its neighbour, instead of scaling.
        odd_h, odd_w = frame.shape[0] % 2, frame.shape[1] % 2
        if odd_h or odd_w:
            frame = np.asarray(cv2.copyMakeBorder(frame, 0, odd_h, 0, odd_w, cv2.BORDER_REPLICATE))
        # OpenCV converts in a twentieth of the time of FFmpeg's scaler.
        planes = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")

    def _open(self, height: int, width: int) -> "tuple[OutputContainer, VideoStream]":
        import av

        self._part.touch()  # FFmpeg opens it with the first packet only; a wrong folder is told now
        # FFmpeg takes what stands before a colon in a relative path for a protocol.
        # Exact: without random numbers, so that equal frames give equal files.
        options = {"fflags": "bitexact"}
        container = av.open(os.path.abspath(self._part), "w", format=self._format, options=options)
        stream = self._add_stream(container, height * width)
        stream.height, stream.width = height, width
        if self._pixel_aspect != 1:
            stream.codec_context.sample_aspect_ratio = self._pixel_aspect
        return container, stream

    def _add_stream(self, container: "OutputContainer", pixels: int) -> "VideoStream":
        """The stream of such frames, without their size."""
        import av

        if "libx264" in av.codecs_available:
            stream = container.add_stream("libx264", rate=self._rate)
            stream.options = {"preset": "superfast", "crf": "20"}
        else:
            stream = container.add_stream("mpeg4", rate=self._rate)
            stream.options = {"qscale": "3"}
            stream.bit_rate = 4 * pixels
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = _BT601
        stream.codec_context.color_range = _LIMITED_RANGE
        return stream

    def close(self) -> None:
        """Finish the file and give it its name; calling it twice does no harm.

        Raises:
            StremnError: if the disk is full.
        """
        if self._output is None:
            return
        container, stream = self._output
        with self._complete_or_gone():
            if self._count:
                container.mux(stream.encode(None))
            container.close()
            os.replace(self._part, self.path)
        self._output = None

    @contextmanager
    def _complete_or_gone(self) -> Iterator[None]:
        """Remove a file that cannot be completed, and tell why."""
        from stremn.files.videos import VIDEO_ERRORS

        try:
            yield
        except VIDEO_ERRORS as error:
            if self._output is not None:
                with suppress(Exception):  # whatever it says: the file goes
                    self._output[0].close()
            self._output = None
            with suppress(OSError):
                self._part.unlink(missing_ok=True)
            raise write_error(self.path, error) from error

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, whatever ended the run; an error of the run is not covered by one of closing."""
        if error is None:
            self.close()
        else:
            with suppress(StremnError):
                self.close()


class TableWriter:
    """Writes rows as a CSV file; a context manager.

    As a video's, the file has a hidden name until it is complete, is complete after an interruption too, and
    without a single row there is none.

    Args:
        path: the CSV file to be.
        header: names of the columns.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path, self._header = path, header
        self._file: TextIO | None = None

    def write(self, *row: object) -> None:
        """Add a row.

        Raises:
            StremnError: if the disk is full or the folder cannot be written to.
        """
        with self._complete_or_gone():
            if self._file is None:
                # Stray bytes of a file name become escapes, as in the summary.
                self._file = part_name(self.path).open(
                    "w", encoding="utf-8", errors="backslashreplace", newline=""
                )
                csv.writer(self._file, lineterminator="\n").writerow(self._header)
            csv.writer(self._file, lineterminator="\n").writerow(row)

    @contextmanager
    def _complete_or_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._file = None
            with suppress(OSError):
                part_name(self.path).unlink(missing_ok=True)
            raise write_error(self.path, error) from error

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file, whatever ended the run."""
        if self._file is not None:
            with self._complete_or_gone():
                self._file.close()
                os.replace(part_name(self.path), self.path)
