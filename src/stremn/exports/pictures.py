"""Exports for editors and for people: objects with transparency, on another background, and a GIF."""

import os
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import cv2
import numpy as np
from PIL import Image, ImageColor

from stremn.errors import StremnError
from stremn.exports.exporter import Exporter, LabelledFrame
from stremn.files.drawing import overlay
from stremn.files.images import UNREADABLE, read_image
from stremn.files.names import IMAGE_SUFFIXES
from stremn.files.outputs import make_folder, write_png
from stremn.files.source import open_source
from stremn.files.writers import VideoWriter

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["Alpha", "CutOut", "Gif", "ProRes", "Vp9", "check_behind"]

GREEN = "#00b140"
"""Of the screens that editors know to replace."""

_BT709, _LIMITED_RANGE = 1, 1
_GIF_RATE, _GIF_SIDE = 16, 480  # frames a second and pixels at most: a GIF has no compression to speak of


class Alpha(Exporter):
    """A PNG of each frame with all objects opaque and the rest transparent."""

    description = "the objects with transparency, PNG of each frame"
    files = ("alpha/*.png",)

    def write(self, frame: LabelledFrame) -> None:
        """Write the picture."""
        path = self.folder / "alpha" / f"{frame.name}.png"
        if not path.parent.is_dir():
            make_folder(path.parent)
        write_png(path, Image.fromarray(frame.cut_out))


class AlphaWriter(VideoWriter):
    """Writes frames ``(H, W, 4)`` uint8 RGBA."""

    _codec: ClassVar[str]
    _pixels: ClassVar[str]
    _options: ClassVar[dict[str, str]]

    def _picture(self, frame: np.ndarray) -> "VideoFrame":
        import av

        picture = av.VideoFrame.from_ndarray(frame, format="rgba")
        return picture.reformat(format=self._pixels, dst_colorspace="ITU709", dst_color_range="MPEG")

    def _add_stream(self, container: "OutputContainer", pixels: int) -> "VideoStream":
        stream = cast(
            "VideoStream", container.add_stream(self._codec, rate=self._rate, options=self._options)
        )
        stream.pix_fmt = self._pixels
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        return stream


class ProResWriter(AlphaWriter):
    """ProRes 4444 in MOV, its alpha without loss."""

    _format, _codec, _pixels = "mov", "prores_ks", "yuva444p10le"
    # Apple's programs ask for the mark of its encoder. With 8 bits FFmpeg's alpha comes back wrong.
    _options: ClassVar = {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}


class Vp9Writer(AlphaWriter):
    """VP9 in WebM."""

    _format, _codec, _pixels = "webm", "libvpx-vp9", "yuva420p"
    # Frames that are never shown cannot have an alpha.
    _options: ClassVar = {
        "deadline": "realtime",
        "cpu-used": "6",
        "row-mt": "1",
        "crf": "24",
        "b": "0",
        "auto-alt-ref": "0",
    }


class GifWriter(VideoWriter):
    """Frames of a GIF, each with colours of its own."""

    _format = "gif"

    def _picture(self, frame: np.ndarray) -> "VideoFrame":
        import av

        image = Image.fromarray(frame).quantize(256, Image.Quantize.FASTOCTREE)  # of 1/100 of the time
        palette = np.full((256, 4), 255, np.uint8)
        colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(colours), 1:] = colours
        pixels: Any = (np.asarray(image), palette)
        return av.VideoFrame.from_ndarray(pixels, format="pal8")

    def _add_stream(self, container: "OutputContainer", pixels: int) -> "VideoStream":
        stream = cast("VideoStream", container.add_stream("gif", rate=self._rate))
        stream.pix_fmt = "pal8"
        return stream


class VideoExporter(Exporter):
    """An export that is one video.

    Attributes:
        writer: of its format.
    """

    writer: ClassVar[type[VideoWriter]] = VideoWriter

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.output = self.writer(self.folder / self.files[0], self.video.frame_rate, self.video.pixel_aspect)

    def write(self, frame: LabelledFrame) -> None:
        """Add the frame to the video."""
        self.output.write(self.picture(frame))

    def picture(self, frame: LabelledFrame) -> np.ndarray:
        """What the video shows of a frame: the objects with their alpha unless a subclass says otherwise."""
        return frame.cut_out

    def close(self) -> None:
        """Complete the video."""
        self.output.close()


class ProRes(VideoExporter):
    """All objects opaque and the rest transparent, for editors."""

    description = "the objects with transparency, ProRes 4444 (MOV)"
    files, writer = ("prores.mov",), ProResWriter


class Vp9(VideoExporter):
    """All objects opaque and the rest transparent, for the web."""

    description = "the objects with transparency, VP9 (WebM)"
    files, writer = ("vp9.webm",), Vp9Writer


class CutOut(VideoExporter):
    """The objects on a colour, a picture, or another video, which starts again where it ends."""

    description = "the objects on a colour, a picture or another video (MP4)"
    files = ("cutout.mp4",)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._behind: Generator[np.ndarray] | None = None

    def picture(self, frame: LabelledFrame) -> np.ndarray:
        """The objects on the next picture of the background."""
        if self._behind is None:
            self._behind = _backgrounds(self.video.behind or GREEN, frame.labels.shape)
        alpha = frame.alpha[..., None].astype(np.uint16)
        mixed = frame.image * alpha + next(self._behind) * (255 - alpha)
        return ((mixed + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        """Complete the video and close its background."""
        if self._behind is not None:
            self._behind.close()
        super().close()


class Gif(VideoExporter):
    """The video with its objects drawn on, small and of few frames a second."""

    description = "the video with its objects drawn on, an animated GIF"
    files, writer = ("overlay.gif",), GifWriter

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        rate = Fraction(self.video.frame_rate or 25)
        self._every = -(-rate // _GIF_RATE)
        self._count = 0
        self.output = self.writer(self.folder / self.files[0], rate / self._every)

    def write(self, frame: LabelledFrame) -> None:
        """Add the frame, if it is its turn."""
        if self._count % self._every == 0:
            super().write(frame)
        self._count += 1

    def picture(self, frame: LabelledFrame) -> np.ndarray:
        """The overlay, reduced where it is large."""
        drawn = overlay(frame.image, frame.labels)
        scale = _GIF_SIDE / max(drawn.shape[:2])
        if scale >= 1:
            return drawn
        return np.asarray(cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def check_behind(behind: str) -> None:
    """Refuse what is neither a colour nor a picture or video that is there.

    Raises:
        StremnError: naming the remedy.
    """
    pictures = _backgrounds(behind, (1, 1))
    next(pictures)
    pictures.close()


def _colour(text: str) -> tuple[int, ...]:
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError as error:
        raise StremnError(
            f"background {text!r} is no colour and does not exist: give a name such as white, #rrggbb, or "
            "the path of a picture or video"
        ) from error


def _backgrounds(behind: str, size: tuple[int, ...]) -> Generator[np.ndarray]:
    """Pictures ``(H, W, 3)`` uint8 of this size, without end."""
    path = Path(behind).expanduser()
    if not os.path.exists(path):
        still = np.full((*size, 3), _colour(behind), np.uint8)
    elif path.suffix.lower() in IMAGE_SUFFIXES - {".gif"} and path.is_file():
        try:
            still = _covering(read_image(path).pixels, size)
        except UNREADABLE as error:
            raise StremnError(f"background {path} is not a readable image: give another one") from error
    else:
        with open_source(path) as source:
            while True:
                for frame in source:
                    yield _covering(frame.image, size)
    while True:
        yield still


def _covering(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A picture scaled so that it covers the size, and cut to it in the middle."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    across, down = (max(side, round(scale * own)) for side, own in zip((width, height), image.shape[1::-1]))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    large = cv2.resize(image, (across, down), interpolation=kind)
    top, left = (down - height) // 2, (across - width) // 2
    return np.asarray(large[top : top + height, left : left + width], np.uint8)
