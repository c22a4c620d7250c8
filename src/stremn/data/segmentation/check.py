"""Whether data sets are whole: every file is opened, and what is named somewhere must be there."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stremn.data.segmentation.images import fit_labels, read_object_labels
from stremn.data.segmentation.sprites import present_ids
from stremn.data.segmentation.stills import StillLayout, find_stills
from stremn.data.segmentation.videos import META_FILE, Meta, Video, read_meta, resolution_folder
from stremn.errors import StremnError, one_line
from stremn.files.images import UNREADABLE, orientation_of
from stremn.files.names import image_files, listed_files, read_split

__all__ = ["Report", "check_folder", "check_stills", "check_videos"]

Progress = Callable[[str, int, int], None]
"""Is told what is checked, how many files of it are done, and how many there are."""

Pair = tuple[str, Path, Path | None, Callable[[], np.ndarray] | None]
"""Name of the video or still, an image of it, its mask if it has one, and what reads that."""


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
    """Open every image and mask of a set of stills; arguments as those of :func:`check_folder`."""
    report = Report(getattr(stills, "file", stills.root), stills.layout, missing=list(stills.missing))
    pairs: list[Pair] = [
        (str(image), image, stills.mask_path(index), partial(stills.labels, index))
        for index, image in enumerate(stills.images)
    ]
    _, objects, empty = _open(pairs, report, jobs, progress)
    report.counts = {"images": len(stills), "objects": objects, "masks_without_object": empty}
    return report


def check_videos(root: Path, jobs: int | None = None, progress: Progress | None = None) -> Report:
    """Open every frame and mask of a folder laid out like DAVIS or YouTube-VOS; see :func:`check_folder`."""
    report = Report(root, _video_layout(root))
    try:
        images, annotations = (resolution_folder(root, name) for name in ("JPEGImages", "Annotations"))
        meta = read_meta(root)
    except StremnError as error:
        report.damaged.append(str(error))
        return report
    listed = _listed(root, report)
    there = [p.name for folder in (images, annotations) for p in sorted(folder.iterdir()) if p.is_dir()]
    videos = [
        Video(name, tuple(image_files(images / name)), tuple(image_files(annotations / name)))
        for name in dict.fromkeys([*there, *listed, *meta])
    ]
    pairs: list[Pair] = []
    for video in videos:
        report.missing += _missing_files(video, images / video.name, annotations / video.name, meta)
        for frame in video.frames:
            mask = video.mask_of(frame)
            pairs.append((video.name, frame, mask, partial(read_object_labels, mask) if mask else None))
    masks, objects, empty = _open(pairs, report, jobs, progress)
    report.counts = {
        "sequences": sum(bool(video.frames or video.masks) for video in videos),
        "frames": len(pairs),
        "masks": masks,
        "objects": objects,
        "masks_without_object": empty,
    }
    return report


def _open(
    pairs: list[Pair], report: Report, jobs: int | None, progress: Progress | None
) -> tuple[int, int, int]:
    """Note what is wrong with images and masks; count readable masks, objects, and masks without one."""
    objects: set[tuple[str, int]] = set()
    masks = empty = 0
    pool = ThreadPoolExecutor(jobs)
    try:
        for done, (pair, (faults, ids)) in enumerate(zip(pairs, pool.map(_check_pair, pairs)), start=1):
            report.damaged += faults
            if ids is not None:
                masks += 1
                empty += not len(ids)
                objects |= {(pair[0], number) for number in ids.tolist()}
            if progress:
                progress(str(report.root), done, len(pairs))
    finally:
        # An interruption would otherwise wait for all files that are left.
        pool.shutdown(cancel_futures=True)
    return masks, len(objects), empty


def _check_pair(pair: Pair) -> tuple[list[str], np.ndarray | None]:
    _, image, mask, read = pair
    faults: list[str] = []
    size = labels = None
    try:
        size = _image_size(image)
    except UNREADABLE as error:
        faults.append(f"{image}: not a readable image ({one_line(error)})")
    try:
        labels = read() if read else None
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
    wanted = {name for known in meta.get(sequence.name, {}).values() for name in known.frames}
    if not wanted:
        wanted = set(_holes(sequence.frames))
    yield from (f"frame {images / name}" for name in sorted((wanted | masks) - frames))
    # YouTube-VOS lists more frames in `valid` than it gives masks of: those where an object joins.
    due = {known.frames[0] for known in meta.get(sequence.name, {}).values() if known.frames}
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
