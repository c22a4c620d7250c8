"""Folders laid out like DAVIS: ``JPEGImages/<resolution>/<sequence>`` and ``Annotations`` beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from stremn.errors import StremnError
from stremn.files.names import image_files, natural_key, read_split, tell_left_out

__all__ = [
    "META_FILE",
    "Meta",
    "Video",
    "read_meta",
    "read_videos",
    "sequence_folders",
    "video_root",
]


@dataclass(frozen=True)
class Video:
    """One video of a data set.

    Attributes:
        name: name of its folder.
        frames: image files in natural order.
        masks: mask files in natural order; as many as frames, or fewer where annotation is sparse.
        joins: name of the frame at which an object is first annotated, by its id; empty where the data set
            does not say, and only the masks tell.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]
    joins: Mapping[int, str] = field(default_factory=dict, compare=False)

    def mask_of(self, frame: Path) -> Path | None:
        """The mask file of a frame, if it has one."""
        return self._by_name.get(frame.stem)

    @cached_property
    def annotated(self) -> tuple[int, ...]:
        """Indices of the frames that have a mask."""
        return tuple(i for i, frame in enumerate(self.frames) if frame.stem in self._by_name)

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {mask.stem: mask for mask in self.masks}


def read_videos(root: Path | str, split: Path | str | None = None) -> list[Video]:
    """The sequences of DAVIS 2016 or 2017, YouTube-VOS, or any folder laid out like them.

    Args:
        root: folder with ``JPEGImages`` and ``Annotations``, each with the sequences in it directly or in one
            folder for the resolution (``480p``, ``Full-Resolution``); or the root of YouTube-VOS, of which
            ``train`` is taken.
        split: text file with one sequence name a line, or the pairs of files that DAVIS 2016 lists; also
            relative to ``root``. ``None`` takes every sequence.

    Raises:
        StremnError: if a folder, the split file or a named sequence is missing, or a sequence is empty.
    """
    given, root = Path(root), video_root(Path(root))
    images, annotations = sequence_folders(root)
    names = _folder_names(images) if split is None else read_split(_split_file(given, Path(split)))
    if not names:
        raise StremnError(f"{images}: holds no sequence; give the root of a DAVIS-layout data set")
    meta = read_meta(root)
    joins = {name: {key: f[0] for key, f in objects.items() if f} for name, objects in meta.items()}
    return [_read_sequence(name, images, annotations, joins.get(name, {})) for name in names]


def sequence_folders(root: Path) -> tuple[Path, Path]:
    """The folders that hold the sequences: of images, and of masks.

    Raises:
        StremnError: if one is missing.
    """
    images, annotations = (_resolution_folder(root, name) for name in ("JPEGImages", "Annotations"))
    return images, annotations


def _split_file(root: Path, split: Path) -> Path:
    return root / split if not split.exists() and (root / split).exists() else split


def _resolution_folder(root: Path, name: str) -> Path:
    folder = root / name
    if not folder.is_dir():
        raise StremnError(f"{root}: has no folder '{name}'; give the root of a DAVIS-layout data set")
    for resolution in ("480p", "Full-Resolution"):
        if (folder / resolution).is_dir():
            return folder / resolution
    return folder


def _folder_names(folder: Path) -> list[str]:
    names = (p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted(names, key=natural_key)


def _read_sequence(name: str, images: Path, annotations: Path, joins: Mapping[int, str]) -> Video:
    frames, masks = (tuple(image_files(folder / name)) for folder in (images, annotations))
    for folder, files in ((images / name, frames), (annotations / name, masks)):
        if not files:
            raise StremnError(
                f"{folder}: no files of the sequence '{name}'; check the split file and the data set"
            )
        tell_left_out(folder)
    return Video(name, frames, masks, joins)


META_FILE = "meta.json"

Meta = Mapping[str, Mapping[int, tuple[str, ...]]]
"""Names of the frames in which an object is annotated, in order, by sequence and object id."""


def video_root(root: Path) -> Path:
    """The folder that holds ``JPEGImages``: ``root``, or ``train`` or ``valid`` in it."""
    for folder in (root, root / "train", root / "valid"):
        if (folder / "JPEGImages").is_dir():
            return folder
    return root


def read_meta(root: Path) -> Meta:
    """What ``meta.json`` says of the objects; empty if there is none.

    Args:
        root: folder that holds ``JPEGImages``.

    Raises:
        StremnError: if the file is damaged.
    """
    path = root / META_FILE
    if not path.is_file():
        return {}
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return {
            name: {int(key): tuple(sorted(o["frames"])) for key, o in video["objects"].items()}
            for name, video in videos.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise StremnError(f"{path}: not the meta.json of YouTube-VOS ({said}); extract it again") from error
