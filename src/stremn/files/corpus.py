"""Lists of many videos and of the masks that show their objects."""

import csv
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stremn.errors import StremnError
from stremn.files.names import IMAGE_SUFFIXES, URL, VIDEO_SUFFIXES, image_files, natural_key, read_names

__all__ = ["CorpusVideo", "read_corpus"]

_COLUMNS = ("video", "masks", "name")


@dataclass(frozen=True)
class CorpusVideo:
    """A video of a corpus.

    Attributes:
        name: of the folder of its results.
        source: path or address.
        masks: as ``stremn segment --masks`` takes them.
    """

    name: str
    source: str
    masks: Path

    def count_bytes(self) -> int:
        """Size of the video, by which work is shared out; 0 where it is not known."""
        path = Path(self.source)
        files = image_files(path) if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())


def read_corpus(path: Path) -> list[CorpusVideo]:
    """The videos of a list or of a folder, whether or not their files can be used.

    Paths are relative to the list. A name that is not given is that of the video without its suffix.

    Args:
        path: a ``.csv`` file whose header names the columns video, masks and, if wanted, name; a text file
            with these, separated by blanks, on each line; or a folder with videos (or folders of frames) and
            beside each its masks under the same name.

    Raises:
        StremnError: if it cannot be read or lists nothing, or two videos have one name.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        videos = list(_of_folder(path))
    else:
        videos = [_of_row(row, path) for row in _rows(path)]
    if not videos:
        raise StremnError(f"{path} has no video: give a list, or a folder of videos with masks beside them")
    seen: dict[str, CorpusVideo] = {}
    for video in videos:
        if Path(video.name).name != video.name or video.name.startswith("."):
            raise StremnError(f"{path}: '{video.name}' cannot be the name of a folder: choose another one")
        # Some file systems take names that differ in case for one.
        if (twin := seen.setdefault(video.name.casefold(), video)) is not video:
            raise StremnError(
                f"{path}: {twin.source} and {video.source} are both called '{video.name}': give names in a "
                "third column"
            )
    return videos


def _of_folder(folder: Path) -> Iterator[CorpusVideo]:
    entries = sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name))
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    videos = [entry for entry in entries if entry.suffix.lower() in VIDEO_SUFFIXES and entry.is_file()]
    # A folder of a video's name holds its masks.
    stems = {video.stem for video in videos}
    videos += [entry for entry in entries if entry.name not in stems and image_files(entry)]
    for video in videos:
        stem = video.name if video.is_dir() else video.stem
        beside = [
            entry
            for entry in entries
            if entry != video
            and ((entry.is_dir() and entry.name == stem) or (_is_mask(entry) and entry.stem == stem))
        ]
        yield CorpusVideo(stem, str(video), beside[0] if beside else folder / f"{stem}.png")


def _is_mask(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES | {".json"}


def _rows(path: Path) -> Iterator[Sequence[str]]:
    """Two or three cells of each line of a list."""
    lines = read_names(path, "videos")
    if path.suffix.lower() != ".csv":
        for line in lines:
            try:
                row = shlex.split(line)
            except ValueError:
                row = []
            if not 2 <= len(row) <= len(_COLUMNS):
                raise StremnError(
                    f"{path}: '{line}' is not a video, its masks and perhaps a name, separated by blanks: "
                    "write that, in quotes what has blanks"
                )
            yield row
        return
    try:
        header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines)] or [[]]
    except csv.Error as error:
        raise StremnError(f"{path}: cannot be read as CSV ({error}): close all quotes") from error
    if not {"video", "masks"} <= set(header) <= set(_COLUMNS):
        raise StremnError(f"{path}: its first line is not a header video,masks or video,masks,name: add it")
    for row in rows:
        cells = dict(zip(header, row))
        if len(row) > len(header) or not cells.get("video") or not cells.get("masks"):
            raise StremnError(f"{path}: '{','.join(row)}' does not fit {','.join(header)}: fill all columns")
        yield [cells[column] for column in _COLUMNS if cells.get(column)]


def _of_row(row: Sequence[str], path: Path) -> CorpusVideo:
    source, masks, *name = row
    if not URL.match(source):
        source = str(path.parent / Path(source).expanduser())
    file = Path(source)
    stem = file.name if file.is_dir() else file.stem
    return CorpusVideo(name[0] if name else stem, source, path.parent / Path(masks).expanduser())
