"""The door for all sources of frames, and pictures as one: those of a folder, or the pages of one file."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from stremn.errors import StremnError, one_line
from stremn.files.frames import MAX_RATE, Frame, FrameSource, log
from stremn.files.images import UNREADABLE, open_image, read_image, to_rgb8
from stremn.files.names import URL, check_stems, image_files, tell_left_out

__all__ = ["FolderSource", "PagesSource", "open_source"]

# FFmpeg reads moving GIF and PNG, and takes these for still pictures.
_PAGED = ("WEBP", "TIFF")
_ANIMATED = (*_PAGED, "GIF")


def open_source(source: str | Path, *, without: str | Path | None = None) -> FrameSource:
    """Open a video file, a folder of frames, a camera (``camera:0``, or ``0``) or a stream by its address.

    Args:
        source: path, camera name, or URL (HTTP, RTSP), with user and password where they are needed; a number
            is a camera unless a file of that name exists.
        without: a file that is no frame although it may lie in the folder of frames, such as the mask.

    Raises:
        StremnError: if the source is missing, empty, not a video, or holds no frames.
    """
    text = str(source)
    camera = re.fullmatch(r"(?:camera:)?([0-9]+)", text)
    path = Path(os.path.expanduser(text))
    there = os.path.exists(path)  # where pathlib would raise, for names that are too long
    if camera and not there:
        from stremn.files.streams import open_camera

        return open_camera(int(camera[1]))
    if URL.match(text):
        from stremn.files.streams import open_url

        return open_url(text)
    if text.startswith("camera:") and not there:
        raise StremnError(f"{text} is not a camera: give its number, as in camera:0")
    if not text.strip() or not there:
        raise StremnError(
            f"source {text!r} does not exist: give a video file, a folder of frames, a URL, or camera:0"
        )
    try:
        if path.is_dir():
            return FolderSource(path, None if without is None else Path(os.path.expanduser(without)))
        if path.is_file() and PagesSource.reads(path):
            return PagesSource(path)
        from stremn.files.videos import VideoSource

        return VideoSource(path)
    except PermissionError as error:
        raise StremnError(f"cannot read {path}: permission denied, make it readable for you") from error


class FolderSource(FrameSource):
    """The images of a folder in natural order, each read when its turn comes.

    Args:
        path: the folder.
        without: a file that is no frame although it may lie there, such as the mask of the first frame.

    Raises:
        StremnError: if the folder is empty or holds no image, or two images share a stem.
    """

    def __init__(self, path: Path, without: Path | None = None) -> None:
        super().__init__(path.name or str(path))
        images = image_files(path)
        self.files = [file for file in images if not _same(file, without)]
        if len(self.files) < len(images):
            log.warning("%s lies among the frames in %s: as the mask it is no frame", without, path)
        if not self.files:
            empty = "is empty" if not any(path.iterdir()) else "holds no image"
            raise StremnError(f"folder {path} {empty}: give a folder of JPEG or PNG frames, or a video file")
        tell_left_out(path)
        check_stems(self.files)
        self.frame_names = tuple(file.stem for file in self.files)
        self.frame_count = len(self.files)

    def _decode(self, start: int = 0) -> Iterator[Frame]:
        for index, file in enumerate(self.files[start:], start):
            try:
                picture = read_image(file)
            except UNREADABLE as error:
                self.lost_frames += 1
                why = "a link to nothing" if not file.exists() else one_line(error)
                log.warning("%s cannot be read and is skipped (%s)", file, why)
                continue
            if index == 0 and (pages := _page_count(file, _ANIMATED)) > 1:
                log.warning("%s holds %d pictures, and so may others: the first one is taken", file, pages)
            yield Frame(index, file.stem, picture.pixels, picture.orientation)
            del picture


def _same(file: Path, other: Path | None) -> bool:
    return other is not None and file.exists() and other.exists() and file.samefile(other)


def _page_count(path: Path, formats: tuple[str, ...]) -> int:
    """Pictures in a file of one of these formats; 1 for any other file."""
    try:
        with open_image(path, formats) as image:
            return getattr(image, "n_frames", 1)
    except UNREADABLE:
        return 1


class PagesSource(FrameSource):
    """The pictures of an animated WebP or of a TIFF of several pages, named by their index in five digits."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self.path, self.frame_count = path, _page_count(path, _PAGED)
        with suppress(*UNREADABLE), open_image(path) as image:
            image.load()
            if milliseconds := image.info.get("duration"):
                self.frame_rate = min(Fraction(1000) / Fraction(milliseconds), Fraction(MAX_RATE))

    @staticmethod
    def reads(path: Path) -> bool:
        """Whether a file is of such a kind and holds several pictures."""
        return _page_count(path, _PAGED) > 1

    def _decode(self, start: int = 0) -> Iterator[Frame]:
        with open_image(self.path) as image:
            for index in range(start, self.frame_count or 0):
                try:
                    image.seek(index)
                    pixels = to_rgb8(image)
                except UNREADABLE:
                    self.lost_frames += 1
                    continue
                yield Frame(index, f"{index:05d}", pixels)
                del pixels
