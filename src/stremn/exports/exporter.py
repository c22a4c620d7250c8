"""What every export has in common: the frame it gets, the names of objects, and how its files are written."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, ClassVar

import cv2
import numpy as np

from stremn.errors import StremnError
from stremn.files.images import jpeg
from stremn.files.outputs import make_folder, part_name, remove, replacing, writing

__all__ = [
    "UNWRITABLE",
    "Categories",
    "DatasetExporter",
    "Exporter",
    "LabelledFrame",
    "Spool",
    "VideoFacts",
    "dumped",
    "separated",
    "write_bytes",
]

_MARGIN = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
# What XML, and with it CVAT, has no way to hold; YAML lacks the upper controls.
UNWRITABLE = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, eq=False)
class LabelledFrame:
    """A frame and its objects, with what several exports ask of them computed once.

    Attributes:
        index: position in the source, from 0.
        name: the name its mask is saved under.
        image: ``(H, W, 3)`` uint8 RGB.
        labels: ``(H, W)`` uint8 object ids, 0 = background.
    """

    index: int
    name: str
    image: np.ndarray
    labels: np.ndarray

    @cached_property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that have pixels, in ascending order."""
        counts = np.bincount(self.labels.ravel(), minlength=256)
        return tuple(int(i) for i in np.flatnonzero(counts) if i)

    @cached_property
    def rles(self) -> dict[int, dict[str, Any]]:
        """The pixels of each object as COCO's compressed run lengths: ``size`` ``[H, W]`` and ``counts``."""
        from pycocotools import mask

        found = {}
        for object_id in self.object_ids:
            rle = mask.encode(np.asfortranarray(self.labels == object_id).view(np.uint8))
            found[object_id] = {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}
        return found

    @cached_property
    def any_object(self) -> np.ndarray:
        """Where there is any object ``(H, W)`` uint8: 255, elsewhere 0."""
        return np.asarray(cv2.threshold(self.labels, 0, 255, cv2.THRESH_BINARY)[1], np.uint8)

    @cached_property
    def alpha(self) -> np.ndarray:
        """How much of a pixel is object ``(H, W)`` uint8: above a half on objects only, with a soft edge."""
        soft = cv2.blur(self.any_object, (3, 3))
        # As at a straight edge, so far from a half that no codec carries it to the other side.
        return np.where(self.any_object, np.maximum(soft, 170), np.minimum(soft, 85)).astype(np.uint8)

    @cached_property
    def cut_out(self) -> np.ndarray:
        """The objects ``(H, W, 4)`` uint8 RGBA, not multiplied by alpha; away from them all is black."""
        # Codecs mix neighbouring pixels, and editors widen an edge, so a margin stays.
        near = cv2.dilate(self.any_object, _MARGIN)
        return np.dstack([cv2.bitwise_and(self.image, self.image, mask=near), self.alpha])

    @cached_property
    def jpeg(self) -> bytes:
        """The picture as a JPEG file."""
        return jpeg(self.image)


@dataclass(frozen=True)
class VideoFacts:
    """What an export wants to know of the video before its first frame.

    Attributes:
        frame_rate: frames per second; ``None`` means 25.
        pixel_aspect: width of a pixel by its height.
        behind: what a cut-out has for a background: a colour, or the path of a picture or video.
    """

    frame_rate: Fraction | float | None = None
    pixel_aspect: Fraction | float = 1
    behind: str | None = None


@dataclass
class Categories:
    """The names of objects; those of one name are of one category.

    Args:
        given: names by object id; others are called ``object-ID``.

    Raises:
        StremnError: if an id is not from 1 to 255, or a name is empty or holds a control character.
    """

    given: Mapping[int, str]
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the names and number them by id."""
        for object_id, name in sorted(self.given.items()):
            if not 1 <= object_id <= 255:
                raise StremnError(f"name {name!r} is for object {object_id}: ids go from 1 to 255")
            if not name.strip() or UNWRITABLE.search(name):
                raise StremnError(
                    f"name {name!r} of object {object_id} has nothing or control characters in it"
                )
            self.number(object_id)

    def name(self, object_id: int) -> str:
        """What an object is called."""
        return self.given.get(object_id, f"object-{object_id}")

    def number(self, object_id: int) -> int:
        """The position of an object's category, from 0; a new one comes after the others."""
        name = self.name(object_id)
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


def dumped(data: Any) -> str:
    """Data as JSON in one line."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


class Spool:
    """Lines that wait in a nameless file for the end of the video, when it is known what goes before them."""

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  (open from frame to frame)

    def add(self, line: str) -> None:
        """Add a line; stray bytes of a file name become escapes."""
        self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def __iter__(self) -> Iterator[str]:
        """The lines from the first one on, without their ends."""
        self._file.seek(0)
        for line in self._file:
            yield line[:-1].decode()

    def close(self) -> None:
        """Let the file go."""
        with suppress(OSError):  # of a full disk, whose lines nobody reads any more
            self._file.close()


class Exporter(ABC):
    """Writes one export of a video, frame by frame; what it holds does not grow with the video.

    Pictures are written when their frame comes, each whole or not at all. Other files get their name when
    they are complete.

    Attributes:
        description: of one line, for menus.
        needs: the library beside those of the package that it takes.
        files: patterns of what it leaves, below the folder of exports.

    Args:
        folder: of all exports of the run; exists.
        video: what is known before the first frame.
        categories: names of the objects, shared by the exports of a run.
    """

    description: ClassVar[str]
    needs: ClassVar[str | None] = None
    files: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path, video: VideoFacts, categories: Categories) -> None:
        self.folder, self.video, self.categories = folder, video, categories

    @abstractmethod
    def write(self, frame: LabelledFrame) -> None:
        """Add a frame.

        Raises:
            StremnError: if the disk is full or the folder cannot be written to.
        """

    def close(self) -> None:  # noqa: B027
        """Complete the files; called once. By default nothing is left to write.

        Raises:
            StremnError: if the disk is full.
        """

    @classmethod
    def found(cls, folder: Path) -> list[Path]:
        """What an earlier run left of this export."""
        return [path for pattern in cls.files for path in folder.glob(pattern)]

    @classmethod
    def clear(cls, folder: Path) -> None:
        """Remove what an earlier run left of this export, and nothing else.

        Raises:
            StremnError: if it cannot be removed.
        """
        parts = [str(part_name(Path(pattern))) for pattern in cls.files]
        for path in [*cls.found(folder), *(path for part in parts for path in folder.glob(part))]:
            remove(path)


class DatasetExporter(Exporter):
    """An export of annotations: pictures as JPEG beside a text that is written at the end of the video.

    Attributes:
        pictures: folder of the pictures, below that of exports; ``None`` where the format has none.
        text: the file of annotations.
    """

    pictures: ClassVar[str | None] = None
    text: ClassVar[str]

    def __init__(self, folder: Path, video: VideoFacts, categories: Categories) -> None:
        super().__init__(folder, video, categories)
        self.path = folder / self.text
        make_folder(self.path.parent)
        with writing(self.path):
            self.spool = Spool(self.path.parent)

    def write(self, frame: LabelledFrame) -> None:
        """Write the picture and keep its annotations on disk."""
        if self.pictures is not None:
            write_bytes(self.folder / self.pictures / f"{frame.name}.jpg", frame.jpeg)
        with writing(self.path):
            self.annotate(frame)

    def close(self) -> None:
        """Write the text."""
        with closing(self.spool), replacing(self.path) as part, open(part, "wb") as file:
            for line in self.lines():
                file.write(line.encode("utf-8", "backslashreplace") + b"\n")

    @abstractmethod
    def annotate(self, frame: LabelledFrame) -> None:
        """Put the annotations of a frame into the spool."""

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """The text, line by line."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, in a folder that is made where it is missing."""
    if not path.parent.is_dir():
        make_folder(path.parent)
    with replacing(path) as part:
        part.write_bytes(data)


def separated(lines: Iterator[str]) -> Iterator[str]:
    """Lines with commas between them."""
    before: str | None = None
    for line in lines:
        if before is not None:
            yield f"{before},"
        before = line
    if before is not None:
        yield before
