"""Pictures as a source of frames: those of a folder, or the pages of one file."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from PIL import Image

from stremn.errors import StremnError, one_line
from stremn.files.frames import MAX_RATE, Frame, FrameSource, log
from stremn.files.images import UNREADABLE, read_image, to_rgb8
from stremn.files.names import image_files, tell_left_out

__all__ = ["FolderSource", "PagesSource", "page_count"]

# FFmpeg reads moving GIF and PNG, and takes these for still pictures.
_PAGED = ("WEBP", "TIFF")
_ANIMATED = {"WEBP", "TIFF", "GIF"}


class FolderSource(FrameSource):
    """The images of a folder in natural order, each read when its turn comes.

    Args:
        path: the folder.
        without: a file that is no frame although it may lie there, such as the mask of the first frame.

    Raises:
        StremnError: if the folder is empty or holds no image, or two images share a stem.
    """

    def __init__(self, path: Path, without: Path | None = None) -> None:
        """List the images; none is opened yet."""
        super().__init__(path.name or str(path))
        self.files = [file for file in image_files(path) if not _same(file, without)]
        if len(self.files) < len(image_files(path)):
            log.warning("%s lies among the frames in %s: as the mask it is no frame", without, path)
        if not self.files:
            empty = "is empty" if not any(path.iterdir()) else "holds no image"
            raise StremnError(f"folder {path} {empty}: give a folder of JPEG or PNG frames, or a video file")
        tell_left_out(path)
        seen: dict[str, Path] = {}
        for file in self.files:
            if file.stem in seen:
                raise StremnError(
                    f"{seen[file.stem].name} and {file.name} in {path} share one name: keep one of them"
                )
            seen[file.stem] = file
        self.frame_names = tuple(file.stem for file in self.files)
        self.frame_count = len(self.files)

    def _decode(self) -> Iterator[Frame]:
        for index, file in enumerate(self.files):
            try:
                picture = read_image(file)
            except UNREADABLE as error:
                self.lost_frames += 1
                why = "a link to nothing" if not file.exists() else one_line(error)
                log.warning("%s cannot be read and is skipped (%s)", file, why)
                continue
            if index == 0 and (pages := page_count(file)) > 1:
                log.warning("%s holds %d pictures, and so may others: the first one is taken", file, pages)
            yield Frame(index, file.stem, picture.pixels, picture.orientation)
            del picture


def _same(file: Path, other: Path | None) -> bool:
    return other is not None and file.exists() and other.exists() and file.samefile(other)


def page_count(path: Path) -> int:
    """Pictures in a file of a kind that may hold several; 1 for any other file."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            return getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1
    except UNREADABLE:
        return 1


class PagesSource(FrameSource):
    """The pictures of an animated WebP or of a TIFF of several pages, named by their index in five digits.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Read how many there are, and how long the first is shown."""
        super().__init__(path.name)
        self.path, self.frame_count = path, page_count(path)
        with suppress(*UNREADABLE), warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")
            image.load()
            if milliseconds := image.info.get("duration"):
                self.frame_rate = min(Fraction(1000) / Fraction(milliseconds), Fraction(MAX_RATE))

    @staticmethod
    def reads(path: Path) -> bool:
        """Whether a file is of such a kind and holds several pictures."""
        try:
            with warnings.catch_warnings(), Image.open(path, formats=_PAGED) as image:
                warnings.simplefilter("ignore")
                return getattr(image, "n_frames", 1) > 1
        except UNREADABLE:
            return False

    def _decode(self) -> Iterator[Frame]:
        with warnings.catch_warnings(), Image.open(self.path) as image:
            warnings.simplefilter("ignore")
            for index in range(self.frame_count or 0):
                try:
                    image.seek(index)
                    pixels = to_rgb8(image)
                except UNREADABLE:
                    self.lost_frames += 1
                    continue
                yield Frame(index, f"{index:05d}", pixels)
                del pixels
