"""Annotated videos as DAVIS has them: ``JPEGImages/<resolution>/<sequence>``, ``Annotations`` beside it."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from stremn.data.segmentation.images import read_rgb
from stremn.errors import StremnError
from stremn.files import Legend, read_mask
from stremn.files.images import read_orientation
from stremn.files.names import (
    check_stems,
    image_files,
    natural_key,
    read_split,
    some_of,
    split_entry,
    tell_left_out,
)

__all__ = [
    "META_FILE",
    "Meta",
    "ObjectMeta",
    "PlayedFrame",
    "Video",
    "check_scorable",
    "find_part",
    "has_truth",
    "new_objects",
    "open_videos",
    "play",
    "played_frames",
    "read_meta",
    "read_videos",
    "resolution_folder",
    "training_categories",
]

log = logging.getLogger("stremn")

META_FILE = "meta.json"


@dataclass(frozen=True)
class ObjectMeta:
    """What YouTube-VOS says of an object.

    Attributes:
        frames: names of the frames in which it is annotated, in order.
        category: what it is; empty where that is not said.
    """

    frames: tuple[str, ...]
    category: str = ""


Meta = Mapping[str, Mapping[int, ObjectMeta]]
"""By sequence and object id."""


@dataclass(frozen=True)
class Video:
    """One video of a data set.

    Attributes:
        name: name of its folder.
        frames: image files in natural order.
        masks: mask files in natural order; as many as frames, or fewer where annotation is sparse.
        joins: name of the frame at which an object is first annotated, by its id; empty where the data set
            does not say, and only the masks tell.
        categories: what an object is, by its id, where the data set says so.
    """

    name: str
    frames: tuple[Path, ...]
    masks: tuple[Path, ...]
    joins: Mapping[int, str] = field(default_factory=dict, compare=False)
    categories: Mapping[int, str] = field(default_factory=dict, compare=False)

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
    root, split = split_entry(entry)
    if not Path(root).is_dir():
        raise StremnError(f"{entry.partition(':')[0]}: no such folder; give the root of a video data set")
    return read_videos(root, split or None)


def read_videos(root: Path | str, split: Path | str | None = None, part: str = "train") -> list[Video]:
    """The sequences of DAVIS 2016 or 2017, YouTube-VOS, or any folder laid out like them.

    Args:
        root: folder with ``JPEGImages`` and ``Annotations``, each with the sequences in it directly or in one
            folder for the resolution (``480p``, ``Full-Resolution``); or the root of YouTube-VOS.
        split: text file with one sequence name a line, or the pairs of files that DAVIS 2016 lists; also
            relative to ``root``. ``None`` takes every sequence.
        part: what to take of YouTube-VOS where its root is given, see :func:`find_part`.

    Raises:
        StremnError: if a folder, the split file or a named sequence is missing, or a sequence is empty.
    """
    given = Path(root)
    root = find_part(given, part)
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
    return [_read_sequence(name, images, annotations, meta.get(name, {})) for name in names]


def find_part(root: Path, part: str) -> Path:
    """The folder that holds ``JPEGImages``: the root itself, or that part of YouTube-VOS.

    Args:
        root: of the data set, or the folder of a part of YouTube-VOS.
        part: ``train``, ``valid`` or ``test``.

    Raises:
        StremnError: if there are other parts, but not this one.
    """
    there = [name for name in (part, "train", "valid", "test") if (root / name / "JPEGImages").is_dir()]
    if not there or (root / "JPEGImages").is_dir():
        return root
    if there[0] != part:
        raise StremnError(f"{root}: has no part '{part}'; give {root / there[0]} to take that one")
    return root / part


def resolution_folder(root: Path, name: str) -> Path:
    """The folder that holds the sequences: ``name`` in ``root``, or one in it for the resolution.

    Raises:
        StremnError: if it is missing.
    """
    folder = root / name
    if not folder.is_dir():
        raise StremnError(f"{root}: has no folder '{name}'; give the root of a DAVIS-layout data set")
    return next((f for f in (folder / "480p", folder / "Full-Resolution") if f.is_dir()), folder)


def _read_sequence(name: str, images: Path, annotations: Path, objects: Mapping[int, ObjectMeta]) -> Video:
    frames, masks = (tuple(image_files(folder / name)) for folder in (images, annotations))
    for folder, files in ((images / name, frames), (annotations / name, masks)):
        if not files:
            raise StremnError(
                f"{folder}: no files of the sequence '{name}'; check the split file and the data set"
            )
        check_stems(files)
        tell_left_out(folder)
    known = {frame.stem for frame in frames}
    if alone := [mask.name for mask in masks if mask.stem not in known]:
        log.warning("%s: %d masks have no frame: %s", annotations / name, len(alone), some_of(alone, 3))
    joins = {key: known.frames[0] for key, known in objects.items() if known.frames}
    categories = {key: known.category for key, known in objects.items() if known.category}
    return Video(name, frames, masks, joins, categories)


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
            name: {
                int(key): ObjectMeta(tuple(sorted(o["frames"])), str(o.get("category", "")))
                for key, o in video["objects"].items()
            }
            for name, video in videos.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise StremnError(f"{path}: not the meta.json of YouTube-VOS ({said}); extract it again") from error


def training_categories(part: Path) -> frozenset[str]:
    """The categories of ``train`` beside a part of YouTube-VOS; none if its ``meta.json`` is not there.

    Raises:
        StremnError: if that is damaged.
    """
    meta = read_meta(part.resolve().parent / "train")
    return frozenset(o.category for objects in meta.values() for o in objects.values() if o.category)


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


def check_scorable(sequence: Video) -> None:
    """Refuse a sequence with too few annotated frames to be scored, before hours of work and not after.

    Raises:
        StremnError: naming it.
    """
    least = 2 if sequence.joins else 3
    if len(sequence.annotated) < least:
        raise StremnError(
            f"sequence '{sequence.name}': {len(sequence.annotated)} of {len(sequence.frames)} frames are "
            f"annotated, and {least} or more are needed to score it: leave it out"
        )


def has_truth(sequence: Video) -> bool:
    """Whether an annotation shows more than the objects that it gives; in a public test set none does.

    Raises:
        StremnError: if a mask cannot be read.
    """
    known: set[int] = set()
    legend = Legend()
    for mask in filter(None, map(sequence.mask_of, sequence.frames)):
        given = new_objects(read_mask(mask, allow_empty=True, legend=legend).labels, known)
        if given is None and known:
            return True
        known |= set() if given is None else set(np.unique(given).tolist())
    return False


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
