"""Whether data sets are whole: every file is opened, and what is named somewhere must be there."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from stremn.data.segmentation.images import fit_labels, read_object_labels
from stremn.data.segmentation.layouts import find_stills
from stremn.data.segmentation.sprites import present_ids
from stremn.data.segmentation.stills import StillLayout
from stremn.data.segmentation.videos import (
    META_FILE,
    Meta,
    Video,
    read_meta,
    sequence_folders,
)
from stremn.errors import StremnError, one_line
from stremn.files.images import UNREADABLE, orientation_of
from stremn.files.names import image_files, listed_files, read_split

__all__ = ["Report", "check_folder", "check_stills", "check_videos"]

Progress = Callable[[str, int, int], None]
"""Is told what is checked, how many files of it are done, and how many there are."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Report:
    """What was found in one data set.

    Attributes:
        root: its folder, or the JSON file of COCO.
        layout: name of its layout.
        counts: of images or sequences and frames, masks, objects, and masks without an object.
        damaged: one line for each file that cannot be used, or mask that does not fit its image.
        missing: one line for each file that should be there.
    """

    root: Path
    layout: str
    counts: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.damaged and not self.missing

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        report: dict[str, Any] = {"root": str(self.root), "layout": self.layout, **self.counts}
        return report | {"damaged": self.damaged, "missing": self.missing}


def check_folder(root: Path, jobs: int | None = None, progress: Progress | None = None) -> list[Report]:
    """Check the data sets that a folder is; none if it fits no layout.

    Args:
        root: the folder.
        jobs: threads; ``None`` is one per core.
        progress: is told of the state.
    """
    videos = [f for f in (root, root / "train", root / "valid") if (f / "JPEGImages").is_dir()]
    if not videos and (root / "Annotations").is_dir() and not (root / "Annotations").is_symlink():
        videos = [root] if any(p.is_dir() for p in (root / "Annotations").iterdir()) else []
    if videos:
        return [check_videos(folder, jobs, progress) for folder in videos]
    try:
        return [check_stills(stills, jobs, progress) for stills in find_stills(root)]
    except StremnError as error:
        return [Report(root, "stills", damaged=[str(error)])]


def check_stills(stills: StillLayout, jobs: int | None = None, progress: Progress | None = None) -> Report:
    """Open every image and mask of a set of stills."""

    def check(index: int) -> tuple[list[str], np.ndarray | None]:
        return _check_pair(stills.images[index], stills.mask_path(index), lambda: stills.labels(index))

    report = Report(getattr(stills, "file", stills.root), stills.layout, missing=list(stills.missing))
    objects = empty = 0
    for faults, ids in _in_threads(check, range(len(stills)), str(report.root), jobs, progress):
        report.damaged += faults
        objects += 0 if ids is None else len(ids)
        empty += ids is not None and not len(ids)
    report.counts = {"images": len(stills), "objects": objects, "masks_without_object": empty}
    return report


def check_videos(root: Path, jobs: int | None = None, progress: Progress | None = None) -> Report:
    """Open every frame and mask of a folder laid out like DAVIS or YouTube-VOS.

    Args:
        root: holds ``JPEGImages`` and ``Annotations``.
        jobs: threads; ``None`` is one per core.
        progress: is told of the state.
    """
    report = Report(root, _video_layout(root))
    try:
        images, annotations = sequence_folders(root)
        meta = read_meta(root)
    except StremnError as error:
        report.damaged.append(str(error))
        return report
    listed = _listed(root, report)
    there = [p.name for folder in (images, annotations) for p in sorted(folder.iterdir()) if p.is_dir()]
    sequences = []
    for name in dict.fromkeys([*there, *listed, *meta]):
        frames = tuple(image_files(images / name))
        masks = tuple(image_files(annotations / name))
        sequence = Video(name, frames, masks)
        report.missing += _missing_files(sequence, images / name, annotations / name, meta)
        if frames or masks:
            sequences.append(sequence)
    _open_files(sequences, report, jobs, progress)
    return report


def _open_files(sequences: list[Video], report: Report, jobs: int | None, progress: Progress | None) -> None:
    def check(item: tuple[str, Path, Path | None]) -> tuple[str, tuple[list[str], np.ndarray | None]]:
        name, frame, mask = item
        return name, _check_pair(frame, mask, lambda: read_object_labels(mask) if mask else None)

    items = [(s.name, frame, s.mask_of(frame)) for s in sequences for frame in s.frames]
    objects: dict[str, set[int]] = {}
    masks = empty = 0
    for name, (faults, ids) in _in_threads(check, items, str(report.root), jobs, progress):
        report.damaged += faults
        if ids is not None:
            masks += 1
            empty += not len(ids)
            objects.setdefault(name, set()).update(ids.tolist())
    report.counts = {
        "sequences": len(sequences),
        "frames": len(items),
        "masks": masks,
        "objects": sum(len(ids) for ids in objects.values()),
        "masks_without_object": empty,
    }


def _check_pair(
    image: Path, mask: Path | None, read: Callable[[], np.ndarray | None]
) -> tuple[list[str], np.ndarray | None]:
    """What is wrong with an image and its mask, and the ids in the mask if it can be read."""
    faults: list[str] = []
    size = labels = None
    try:
        size = _image_size(image)
    except UNREADABLE as error:
        faults.append(f"{image}: not a readable image ({one_line(error)})")
    try:
        labels = read()
        if size and mask and labels is not None:
            fit_labels(labels, mask, image, size)
    except StremnError as error:
        faults.append(str(error))
    return faults, None if labels is None else present_ids(labels)


def _image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, all of which is decoded: OpenCV passes over a missing end."""
    with Image.open(path) as image:
        tiff, orientation = image.format == "TIFF", orientation_of(image)
        image.load()  # which turns TIFF
        width, height = image.size
        return (width, height) if orientation >= 5 and not tiff else (height, width)


def _missing_files(sequence: Video, images: Path, annotations: Path, meta: Meta) -> Iterator[str]:
    if not sequence.frames:
        yield f"frames of the sequence: {images}"
    if not sequence.masks:
        yield f"masks of the sequence: {annotations}"
    if not sequence.frames or not sequence.masks:
        return
    frames, masks = ({f.stem for f in files} for files in (sequence.frames, sequence.masks))
    wanted = {name for names in meta.get(sequence.name, {}).values() for name in names}
    if not wanted:
        wanted = set(_holes(sequence.frames))
    yield from (f"frame {images / name}" for name in sorted((wanted | masks) - frames))
    # YouTube-VOS lists more frames in `valid` than it gives masks of: those where an object joins.
    due = {names[0] for names in meta.get(sequence.name, {}).values() if names}
    due = due or frames & set(_holes(sequence.masks))
    yield from (f"mask {annotations / name}.png" for name in sorted(due - masks))


def _holes(frames: Iterable[Path]) -> list[str]:
    """Names that the numbers of the frames leave out, where they mostly count by one."""
    names = [frame.stem for frame in frames]
    if not all(name.isascii() and name.isdecimal() for name in names):
        return []
    numbers = sorted(int(name) for name in names)
    steps = Counter(b - a for a, b in pairwise(numbers))
    if not steps or steps.most_common(1)[0][0] != 1:
        return []
    return [f"{n:0{len(names[0])}d}" for a, b in pairwise(numbers) for n in range(a + 1, b)]


def _listed(root: Path, report: Report) -> list[str]:
    """Names of the sequences in all splits; files that a split lists and that are absent are noted."""
    names: list[str] = []
    for path in sorted((root / "ImageSets").rglob("*.txt")):
        try:
            names += read_split(path)
        except StremnError as error:
            report.damaged.append(str(error))
            continue
        files = [f for f in listed_files(path) if f.startswith(("/JPEGImages/", "/Annotations/"))]
        report.missing += [
            f"{root / file[1:]}, listed in {path.name}" for file in files if not (root / file[1:]).is_file()
        ]
    return names


def _video_layout(root: Path) -> str:
    if (root / META_FILE).is_file():
        return "YouTube-VOS"
    for year, name in (("2017", "DAVIS 2017"), ("2016", "DAVIS 2016"), ("480p", "DAVIS 2016")):
        if (root / "ImageSets" / year).is_dir():
            return name
    return "DAVIS layout"


def _in_threads(
    check: Callable[[Item], Result],
    items: Iterable[Item],
    label: str,
    jobs: int | None,
    progress: Progress | None,
) -> Iterator[Result]:
    items = list(items)
    pool = ThreadPoolExecutor(jobs)
    try:
        for done, result in enumerate(pool.map(check, items), start=1):
            if progress:
                progress(label, done, len(items))
            yield result
    finally:
        # An interruption would otherwise wait for all files that are left.
        pool.shutdown(cancel_futures=True)
