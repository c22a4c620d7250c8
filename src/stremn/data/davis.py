"""Folders laid out like DAVIS: ``JPEGImages/<resolution>/<sequence>`` and ``Annotations`` beside it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stremn.errors import StremnError

__all__ = ["Sequence", "read_sequences"]

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Sequence:
    """One video of a data set.

    Attributes:
        name: name of its folder.
        frames: image files in order.
        masks: mask files in order; as many as frames, or fewer where annotation is sparse.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]

    def mask_of(self, frame: Path) -> Path | None:
        """The mask file of a frame, if it has one."""
        return self._by_name.get(frame.stem)

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {mask.stem: mask for mask in self.masks}


def read_sequences(root: Path | str, split: Path | str | None = None) -> list[Sequence]:
    """The sequences of a DAVIS-layout folder.

    Args:
        root: folder with ``JPEGImages`` and ``Annotations``, each with the sequences in it directly or in one
            folder for the resolution (``480p``, ``Full-Resolution``).
        split: text file with one sequence name a line; ``None`` takes every sequence.

    Raises:
        StremnError: if a folder, the split file or a named sequence is missing, or a sequence is empty.
    """
    root = Path(root)
    images, annotations = (_resolution_folder(root, name) for name in ("JPEGImages", "Annotations"))
    names = _folder_names(images) if split is None else _read_split(Path(split))
    if not names:
        raise StremnError(f"{images}: holds no sequence; give the root of a DAVIS-layout data set")
    return [_read_sequence(name, images, annotations) for name in names]


def _resolution_folder(root: Path, name: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        raise StremnError(f"{root}: has no folder '{name}'; give the root of a DAVIS-layout data set")
    for resolution in ("480p", "Full-Resolution"):
        if (folder / resolution).is_dir():
            return folder / resolution
    return folder


def _folder_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_split(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise StremnError(f"{path}: cannot be read as a list of sequences; give a text file") from error
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise StremnError(f"{path}: the split file is empty; write one sequence name a line")
    return names


def _read_sequence(name: str, images: Path, annotations: Path) -> Sequence:
    frames = _files(images / name, IMAGE_SUFFIXES)
    masks = _files(annotations / name, {".png"})
    for folder, files in ((images / name, frames), (annotations / name, masks)):
        if not files:
            raise StremnError(
                f"{folder}: no files of the sequence '{name}'; check the split file and the data set"
            )
    return Sequence(name, frames, masks)


def _files(folder: Path, suffixes: set[str]) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != "."))
