"""The output folders of the commands."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from stremn.errors import StremnError
from stremn.files.atomic import part_name, write_error

__all__ = ["OutputFolder", "PredictionFolder", "SegmentationFolder", "check_folder", "make_folder"]


def check_folder(path: Path, overwrite: bool = True) -> None:
    """Refuse an output folder that is a file, or without ``overwrite`` one that is not empty.

    Raises:
        StremnError: naming the folder and the remedy.
    """
    if path.exists() and not path.is_dir():
        raise StremnError(f"output {path} is a file: give a folder")
    try:
        if not overwrite and path.is_dir() and any(path.iterdir()):
            raise StremnError(f"output folder {path} is not empty: empty it, or give --overwrite")
    except OSError as error:
        raise write_error(path, error) from error


def make_folder(path: Path) -> None:
    """Make an output folder, unless it is there.

    Raises:
        StremnError: if it cannot be made or is a file.
    """
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


class OutputFolder:
    """The folder of one run: where each output goes, and what may be replaced.

    Construction only looks; ``prepare`` creates the folder and removes the outputs of an earlier run.

    Attributes:
        pictures: name of the folder within it that gets a PNG for each frame.
        files: names of the other outputs.

    Args:
        path: the folder; may be missing or empty.
        overwrite: replace the outputs of an earlier run; foreign files stay in any case.
        inputs: files and folders the run reads, which must not be among the outputs replaced.

    Raises:
        StremnError: if the path is a file, is not empty without ``overwrite``, or holds an input.
    """

    pictures: ClassVar[str]
    files: ClassVar[tuple[str, ...]]

    def __init__(
        self, path: str | Path, overwrite: bool = False, *, inputs: Iterable[str | Path] = ()
    ) -> None:
        """Look at what is there; nothing is changed yet."""
        self.path = Path(path).expanduser()
        check_folder(self.path, overwrite)
        ours = [(self.path / name).resolve() for name in (self.pictures, *self.files)]
        for given in inputs:
            real = Path(given).expanduser().resolve()
            if any(real == out or out in real.parents for out in ours):
                raise StremnError(f"{given} lies where the outputs go: choose another output folder")

    @property
    def summary(self) -> Path:
        """Where ``summary.json`` goes."""
        return self.path / "summary.json"

    def picture(self, name: str) -> Path:
        """Where the PNG of the frame of this name goes."""
        return self.path / self.pictures / f"{name}.png"

    def prepare(self) -> None:
        """Create the folder and remove earlier outputs: its PNGs and its files, nothing else.

        Raises:
            StremnError: if it cannot be written to.
        """
        pictures = self.path / self.pictures
        try:
            for file in (self.path / name for name in self.files):
                file.unlink(missing_ok=True)
                part_name(file).unlink(missing_ok=True)
            if pictures.is_symlink() or pictures.is_file():
                pictures.unlink()
            if pictures.is_dir():
                for file in [*pictures.glob("*.png"), *pictures.glob(".*.part")]:
                    file.unlink()
            pictures.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error


class SegmentationFolder(OutputFolder):
    """What ``stremn segment`` leaves; see ``OutputFolder``."""

    pictures = "masks"
    files = ("overlay.mp4", "memory.png", "summary.json")

    @property
    def overlay(self) -> Path:
        """Where the video with the objects drawn on goes."""
        return self.path / "overlay.mp4"

    @property
    def memory(self) -> Path:
        """Where the picture of the slots goes."""
        return self.path / "memory.png"


class PredictionFolder(OutputFolder):
    """What ``stremn predict`` leaves; see ``OutputFolder``."""

    pictures = "frames"
    files = ("side-by-side.mp4", "strip.png", "summary.json")

    @property
    def video(self) -> Path:
        """Where the video of truth, prediction and error goes."""
        return self.path / "side-by-side.mp4"

    @property
    def strip(self) -> Path:
        """Where the film strip goes."""
        return self.path / "strip.png"
