"""Names on disk: which files are pictures or videos, their order, and text files that list them."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from stremn.errors import StremnError

__all__ = [
    "IMAGE_SUFFIXES",
    "URL",
    "VIDEO_SUFFIXES",
    "check_stems",
    "image_files",
    "listed_files",
    "natural_key",
    "read_names",
    "read_split",
    "some_of",
    "split_entry",
    "tell_left_out",
    "without_password",
]

log = logging.getLogger("stremn")

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jp2", ".png", ".tga", ".tif", ".tiff", ".webp"}
    | {".jfif", ".jpe", ".jpeg", ".jpg"}
    | {".pbm", ".pgm", ".pnm", ".ppm"}
)
"""Of the files that are frames and masks, in lower case."""

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".ogv", ".webm", ".wmv", ".y4m"}
    | {".m2ts", ".mpeg", ".mpg", ".mts", ".ts"}
)
"""Of the files that are videos, in lower case."""

# What lies beside frames and is never meant as one.
_COMPANIONS = frozenset(
    {".csv", ".db", ".htm", ".html", ".ini", ".json"}
    | {".log", ".md", ".pdf", ".txt", ".xml", ".yaml", ".yml"}
)
_SUFFIX = "|".join(map(re.escape, sorted(IMAGE_SUFFIXES)))
URL = re.compile("(?:https?|rtsps?)://")
"""How the address of a stream or a video in a network begins."""
_FILE = re.compile(rf"\S.*?(?:{_SUFFIX})(?=\s|$)", re.IGNORECASE)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts ``frame2`` before ``frame10``; ties are settled by the name itself."""
    parts = re.split(r"([0-9]+)", name)
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]
    return [*key, (-1, 0, name)]


def split_entry(entry: str) -> tuple[str, str]:
    """What stands before the colon of ``path:rest`` and after it; a path may have colons of its own.

    All of it if that exists, else the first start that does; where none does, all of it is the path.
    """
    cuts = [len(entry), *(i for i, character in enumerate(entry) if character == ":")]
    cut = next((i for i in cuts if Path(entry[:i]).exists()), len(entry))
    return entry[:cut], entry[cut + 1 :]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder in natural order; none if it does not exist.

    Hidden files are not counted. A link whose target is not there is: it stands for a frame that is lost.
    """
    files = [path for path in _shown_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=lambda path: natural_key(path.name))


def check_stems(files: Iterable[Path]) -> None:
    """Refuse files of one folder that differ in their suffix alone: frames and masks are paired without it.

    Raises:
        StremnError: naming two of them.
    """
    seen: dict[str, Path] = {}
    for file in files:
        if (twin := seen.setdefault(file.stem, file)) is not file:
            raise StremnError(
                f"{twin.name} and {file.name} in {file.parent} share one name: keep one of them"
            )


def tell_left_out(folder: Path) -> None:
    """Warn, in one line, of the files among the frames of a folder that are no images."""
    known = IMAGE_SUFFIXES | _COMPANIONS
    names = [path.name for path in _shown_files(folder) if path.suffix.lower() not in known]
    if names:
        what = f"{len(names)} files are no images of a known kind and are"
        if len(names) == 1:
            what = "1 file is no image of a known kind and is"
        log.warning("%s: %s left out: %s", folder, what, some_of(sorted(names, key=natural_key), 5))


def _shown_files(folder: Path) -> list[Path]:
    """The files of a folder that are not hidden, and its links to nothing; none if it does not exist."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return [
        path
        for path in entries
        if not path.name.startswith(".") and (path.is_file() or (path.is_symlink() and not path.exists()))
    ]


def some_of(names: Sequence[str], most: int) -> str:
    """The first of several names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def without_password(source: str) -> str:
    """A source as it may be shown and written down: of an address without user and password.

    Examples:
        >>> without_password("rtsp://me:secret@10.0.0.9/door")
        'rtsp://10.0.0.9/door'
    """
    return re.sub(r"(?<=://)[^/]*@", "", source) if URL.match(source) else source


def read_names(path: Path, what: str = "sequences") -> list[str]:
    """The lines of a text file that lists names, without those that are empty or begin with ``#``.

    Args:
        path: text in UTF-8, with or without a byte order mark, or in UTF-16 with one.
        what: of which things, for errors.

    Raises:
        StremnError: if it cannot be read.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StremnError(f"{path}: cannot be read as a list of {what}; give a text file") from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def read_split(path: Path) -> list[str]:
    """The sequence names of a split file, each once; names may hold blanks.

    Lines of files, such as the pairs of a frame and its mask that DAVIS 2016 lists, count for their folder.

    Raises:
        StremnError: if it cannot be read or lists nothing.
    """
    names = [_sequence_name(line) for line in read_names(path)]
    if not names:
        raise StremnError(f"{path}: lists no sequence; write one sequence name a line")
    return list(dict.fromkeys(names))


def listed_files(path: Path) -> Iterator[str]:
    """The image files that a split file names, as they stand there; none where it lists sequences.

    Raises:
        StremnError: if it cannot be read.
    """
    for line in read_names(path):
        yield from (found.strip() for found in _FILE.findall(line) if "/" in found)


def _sequence_name(line: str) -> str:
    file = _FILE.match(line)
    if file and Path(file[0]).parent.name:
        return Path(file[0]).parent.name
    return line.rstrip("/\\") or line
