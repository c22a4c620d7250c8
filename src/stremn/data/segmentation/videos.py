"""Annotated videos as DAVIS has them: ``JPEGImages/<resolution>/<sequence>``, ``Annotations`` beside it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from stremn.data.segmentation.images import read_rgb
from stremn.errors import StremnError
from stremn.files import Legend, read_mask
from stremn.files.images import read_orientation
from stremn.files.names import image_files, natural_key, read_split, tell_left_out

__all__ = [
    "META_FILE",
    "Meta",
    "PlayedFrame",
    "Video",
    "new_objects",
    "open_videos",
    "play",
    "played_frames",
    "read_meta",
    "read_videos",
    "resolution_folder",
]

META_FILE = "meta.json"

Meta = Mapping[str, Mapping[int, tuple[str, ...]]]
"""Names of the frames in which an object is annotated, in order, by sequence and object id."""


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


def open_videos(entry: str) -> list[Video]:
    """The sequences of a folder, or those of a split of it.

    Args:
        entry: ``root`` or ``root:split``, as :func:`read_videos` takes them.

    Raises:
        StremnError: if the folder is missing, and as :func:`read_videos`.
    """
    # A colon may also be part of a path.
    cuts = [len(entry), *(i for i, character in enumerate(entry) if character == ":")]
    cut = next((i for i in cuts if Path(entry[:i]).is_dir()), None)
    if cut is None:
        raise StremnError(f"{entry.partition(':')[0]}: no such folder; give the root of a video data set")
    return read_videos(entry[:cut], entry[cut + 1 :] or None)


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
    given = Path(root)
    places = (given, given / "train", given / "valid")
    root = next((folder for folder in places if (folder / "JPEGImages").is_dir()), given)
    images, annotations = (resolution_folder(root, name) for name in ("JPEGImages", "Annotations"))
    if split is None:
        found = (p.name for p in images.iterdir() if p.is_dir() and not p.name.startswith("."))
        names = sorted(found, key=natural_key)
    else:
        inside = not Path(split).exists() and (given / split).exists()
        names = read_split(given / split if inside else Path(split))
    if not names:
        raise StremnError(f"{images}: holds no sequence; give the root of a DAVIS-layout data set")
    meta = read_meta(root)
    joins = {name: {key: f[0] for key, f in objects.items() if f} for name, objects in meta.items()}
    return [_read_sequence(name, images, annotations, joins.get(name, {})) for name in names]


def resolution_folder(root: Path, name: str) -> Path:
    """The folder that holds the sequences: ``name`` in ``root``, or one in it for the resolution.

    Raises:
        StremnError: if it is missing.
    """
    folder = root / name
    if not folder.is_dir():
        raise StremnError(f"{root}: has no folder '{name}'; give the root of a DAVIS-layout data set")
    return next((f for f in (folder / "480p", folder / "Full-Resolution") if f.is_dir()), folder)


def _read_sequence(name: str, images: Path, annotations: Path, joins: Mapping[int, str]) -> Video:
    frames, masks = (tuple(image_files(folder / name)) for folder in (images, annotations))
    for folder, files in ((images / name, frames), (annotations / name, masks)):
        if not files:
            raise StremnError(
                f"{folder}: no files of the sequence '{name}'; check the split file and the data set"
            )
        tell_left_out(folder)
    return Video(name, frames, masks, joins)


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


@dataclass(frozen=True)
class PlayedFrame:
    """A frame as it is played.

    Attributes:
        path: its image file.
        image: ``(H, W, 3)`` uint8 RGB.
        truth: label map ``(H, W)`` uint8, ``None`` where the frame has no annotation.
    """

    path: Path
    image: np.ndarray
    truth: np.ndarray | None


def play(sequence: Video, least: int = 0) -> Iterator[PlayedFrame]:
    """The frames of a sequence in the order in which they are shown, read one by one.

    Args:
        sequence: frames and annotations.
        least: if the sequence has fewer frames it is played forth and back, in whole passes and without
            showing the frame at which it turns twice, until at least so many were shown.

    Raises:
        StremnError: if a file cannot be read.
    """
    count = len(sequence.frames)
    order = [*range(count)]
    for number in range(_passes_back(count, least)):
        order += range(1, count) if number % 2 else range(count - 2, -1, -1)
    legend = Legend()
    for path in (sequence.frames[index] for index in order):
        image, truth = read_rgb(path), None
        if mask := sequence.mask_of(path):
            size, orientation = (image.shape[0], image.shape[1]), read_orientation(path)
            read = read_mask(mask, size=size, orientation=orientation, allow_empty=True, legend=legend)
            truth = read.labels
        yield PlayedFrame(path, image, truth)


def played_frames(sequence: Video, least: int = 0) -> int:
    """How many frames :func:`play` shows."""
    count = len(sequence.frames)
    return count + _passes_back(count, least) * (count - 1)


def _passes_back(count: int, least: int) -> int:
    """Passes after the first; each adds ``count - 1`` frames, as the frame it turns at was shown."""
    return max(0, -(-(least - count) // (count - 1))) if count > 1 else 0


def new_objects(truth: np.ndarray | None, known: Iterable[int]) -> np.ndarray | None:
    """The part of an annotation that shows objects for the first time; 255 beside other ids is void.

    Args:
        truth: label map ``(H, W)`` of a frame, if it is annotated.
        known: ids that are followed already.

    Returns:
        Label map of the new objects only; ``None`` if there are none.
    """
    if truth is None:
        return None
    truth, _ = Legend().without_void(truth)
    new = np.where(np.isin(truth, list(known)), 0, truth)
    return new if new.any() else None
