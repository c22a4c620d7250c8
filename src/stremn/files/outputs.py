"""What a run leaves behind: files that are only ever seen complete, and the folders of the commands."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile, ZipInfo

from PIL import Image

from stremn.errors import StremnError, one_line

__all__ = [
    "OutputFolder",
    "PredictionFolder",
    "SegmentationFolder",
    "check_folder",
    "make_folder",
    "part_name",
    "remove",
    "replacing",
    "write_error",
    "write_json",
    "write_png",
    "write_text",
    "write_zip",
    "writing",
]

# A file-size limit meets the user as a full disk does: the next byte has no place.
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_LONG_NAME = 100  # bytes; file systems allow 255, encrypting ones 143


def part_name(path: Path) -> Path:
    """The hidden name beside a path under which its content is written until it is complete.

    It is never longer than a long name, which may have all the bytes that the file system allows.
    """
    name = os.fsencode(path.name)
    shown = path.name if len(name) <= _LONG_NAME else hashlib.sha256(name).hexdigest()[:32]
    return path.with_name(f".{shown}.part")


def write_error(path: Path, error: Exception) -> StremnError:
    """The user's view of a failed write to ``path``: what happened and what to do about it."""
    number = getattr(error, "errno", None)
    if number in _NO_SPACE:
        return StremnError(f"disk full while writing {path}: free some space, or choose another folder")
    if number == errno.ENAMETOOLONG:
        return StremnError(f"cannot write {path} (the name is too long): choose a shorter one")
    if isinstance(error, OSError):
        reason = os.strerror(number) if number and number > 0 else one_line(error)
        return StremnError(f"cannot write {path} ({reason}): choose a folder that you may write to")
    return StremnError(f"cannot write {path} ({one_line(error)}): choose another size, rate or kind of file")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell what the disk says within as an error of writing this file or folder."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on success it becomes ``path``, on any failure it is removed.

    Raises:
        StremnError: in place of the errors of writing: disk full, folder not writable, what an encoder says.
    """
    part = part_name(path)
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all; names of files that are no UTF-8 are written as escapes.

    In JSON these escapes give the same name back.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    with replacing(Path(path)) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, as ``write_text`` does."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_png(path: str | Path, image: Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    with replacing(Path(path)) as part, open(part, "wb") as file:
        # Level 3 is the best size at the speed of level 1 on label maps.
        image.save(file, format="PNG", compress_level=3)


def remove(path: Path) -> None:
    """Remove a file of an earlier run, if there is one.

    Raises:
        StremnError: if it cannot be removed.
    """
    with writing(path):
        path.unlink(missing_ok=True)


def write_zip(path: Path, files: Mapping[str, Path]) -> None:
    """Write a zip of files by their names in it, whole or not at all; equal files give equal bytes.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    with replacing(path) as part, ZipFile(part, "w") as archive:
        for name, file in files.items():
            # Of 1980, unlike the file, whose time would be another one in every run.
            entry = ZipInfo(name.encode("utf-8", "backslashreplace").decode())
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def check_folder(path: Path, overwrite: bool = True) -> None:
    """Refuse an output folder that is a file, or without ``overwrite`` one that is not empty.

    Raises:
        StremnError: naming the folder and the remedy.
    """
    if path.exists() and not path.is_dir():
        raise StremnError(f"output {path} is a file: give a folder")
    with writing(path):
        if not overwrite and path.is_dir() and any(path.iterdir()):
            raise StremnError(f"output folder {path} is not empty: empty it, or set 'overwrite'")


def make_folder(path: Path) -> None:
    """Make an output folder, unless it is there.

    Raises:
        StremnError: if it cannot be made or is a file.
    """
    check_folder(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def _real(path: Path) -> Path:
    """Past all links; unlike ``Path.resolve`` also of links that lead to themselves, as they stand."""
    return Path(os.path.realpath(path))


class OutputFolder:
    """The folder of one run: where each output goes, and what may be replaced.

    Construction only looks; ``prepare`` creates the folder and removes the outputs of an earlier run.

    Attributes:
        pictures: name of the folder within it that gets a PNG for each frame.
        files: names of the other outputs.
        folders: names of the folders within it that are not its own to replace, but where outputs go.

    Args:
        path: the folder; may be missing or empty.
        overwrite: replace the outputs of an earlier run; foreign files stay in any case.
        inputs: files and folders the run reads, which must not be among the outputs replaced.

    Raises:
        StremnError: if the path is a file, is not empty without ``overwrite``, or holds an input.
    """

    pictures: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    folders: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, path: str | Path, overwrite: bool = False, *, inputs: Iterable[str | Path] = ()
    ) -> None:
        self.path = Path(path).expanduser()
        check_folder(self.path, overwrite)
        ours = [_real(self.path / name) for name in (self.pictures, *self.files, *self.folders)]
        for given in inputs:
            real = _real(Path(given).expanduser())
            if real == _real(self.path) or any(real == out or out in real.parents for out in ours):
                raise StremnError(f"{given} lies where the outputs go: choose another output folder")

    def picture(self, name: str) -> Path:
        """Where the PNG of the frame of this name goes."""
        return self.path / self.pictures / f"{name}.png"

    def prepare(self) -> None:
        """Create the folder and remove earlier outputs: its PNGs and its files, nothing else.

        Raises:
            StremnError: if it cannot be written to.
        """
        pictures = self.path / self.pictures
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        for file in (self.path / name for name in self.files):
            remove(file)
            remove(part_name(file))
        with writing(pictures):
            if pictures.is_symlink() or pictures.is_file():
                pictures.unlink()
            pictures.mkdir(exist_ok=True)
        for file in [*pictures.glob("*.png"), *pictures.glob(".*.part")]:
            remove(file)


class SegmentationFolder(OutputFolder):
    """What ``stremn segment`` leaves: masks, an overlay video, a picture of the slots, a table."""

    pictures = "masks"
    files = ("overlay.mp4", "memory.png", "objects.csv", "summary.json")
    folders = ("exports",)


class PredictionFolder(OutputFolder):
    """What ``stremn predict`` leaves: frames, a video of truth, prediction and error, a film strip."""

    pictures = "frames"
    files = ("side-by-side.mp4", "strip.png", "summary.json")
