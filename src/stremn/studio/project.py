"""One video in the studio: its frames and masks on disk, its objects, what is known of each frame, undo."""

import base64
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import RLock
from typing import Any

import cv2
import numpy as np

from stremn.errors import StremnError
from stremn.files import open_source, read_mask, write_json, write_mask
from stremn.files.images import jpeg
from stremn.files.outputs import make_folder, replacing, writing

__all__ = ["GIVEN", "LOST", "MOST_OBJECTS", "NONE", "Project", "sure"]

NONE, LOST, GIVEN = 0, 102, 103
"""What a timeline says of a frame, beside 1 to 101: followed, with a confidence of 0 to 100 percent."""

MOST_OBJECTS, MOST_UNDO, MOST_SIDE = 100, 50, 8192


def sure(confidence: float) -> int:
    """The code of a followed frame; confidence in [0, 1]."""
    return 1 + round(100 * min(max(confidence, 0.0), 1.0))


@dataclass
class _Step:
    """What an action changed: objects and timelines before it, and which frames had a mask, which is kept."""

    label: str
    folder: Path
    objects: dict[int, str]
    timeline: dict[int, np.ndarray]
    frames: dict[int, bool] = field(default_factory=dict)


class Project:
    """A video whose objects are drawn, followed and corrected. Memory does not grow with its length.

    Frames lie in ``frames/`` as JPEG, so that any of them can be shown at once; masks in ``masks/`` as
    palette PNG, named like the source's frames. All methods may be called from any thread.

    Attributes:
        folder: holds all that is written.
        names: of the frames that were read so far.
        objects: names by object id.
        timeline: for each object id one code a frame ``(T,)`` uint8: :data:`NONE`, :data:`LOST`,
            :data:`GIVEN` or :func:`sure`.
        edits: frame and object id of what was drawn since a tracker last looked, ``(-1, 0)`` for an undo.
        revision: grows with every change of a mask.
    """

    def __init__(self, folder: Path, origin: str = "") -> None:
        """Open what an earlier run left in the folder, or begin an empty project."""
        self.folder, self.lock = folder, RLock()
        self.source, self.origin, self.rate, self.size = "", origin, Fraction(25), (0, 0)
        self.names: list[str] = []
        self.objects: dict[int, str] = {}
        self.timeline: dict[int, np.ndarray] = {}
        self.edits: set[tuple[int, int]] = set()
        self.revision, self.complete = 0, False
        self._undo: deque[_Step] = deque()
        self._steps = 0
        self._tracking = False
        shutil.rmtree(folder / "undo", ignore_errors=True)
        if (folder / "project.json").is_file():
            self._load()

    @staticmethod
    def origin_of(folder: Path) -> str | None:
        """What the project in a folder was made of; ``None`` if there is no project in it.

        Raises:
            StremnError: if it is damaged.
        """
        facts = _facts(folder)
        return None if facts is None else str(facts.get("origin"))

    @property
    def count(self) -> int:
        """Frames that were read so far."""
        return len(self.names)

    def read(
        self, source: str | Path, *, most_frames: int | None = None, tell: Callable[[], object] = lambda: None
    ) -> None:
        """Read a video or a folder of frames into the project.

        Args:
            source: see :func:`stremn.files.open_source`.
            most_frames: a longer one is refused.
            tell: called after every frame.

        Raises:
            StremnError: if it cannot be read, or is too long or too large.
        """
        with open_source(source) as frames:
            self.source, self.rate = frames.name, frames.frame_rate or self.rate
            for folder in ("frames", "masks"):
                make_folder(self.folder / folder)
            for frame in frames:
                if self.count == most_frames:
                    raise StremnError(f"{frames.name} has more than {most_frames} frames: cut it first")
                self.size = (frame.image.shape[0], frame.image.shape[1])
                if max(self.size) > MOST_SIDE:
                    raise StremnError(f"{frames.name} is larger than {MOST_SIDE} pixels: scale it first")
                with replacing(self.frame_file(self.count)) as part:
                    part.write_bytes(jpeg(frame.image))
                with self.lock:
                    self.names.append(frame.name)
                del frame
                tell()
        with self.lock:
            self.complete = True
            self.timeline = {i: self.row(i).copy() for i in self.objects}
            self.save()

    def frame_file(self, frame: int) -> Path:
        """The JPEG of a frame."""
        return self.folder / "frames" / f"{frame:06d}.jpg"

    def mask_file(self, frame: int) -> Path:
        """The palette PNG of a frame; there is none before anything is in it."""
        return self.folder / "masks" / f"{self.names[frame]}.png"

    def image(self, frame: int) -> np.ndarray:
        """A frame ``(H, W, 3)`` uint8 RGB.

        Raises:
            StremnError: if there is no such frame.
        """
        self.check(frame)
        bgr = cv2.imread(str(self.frame_file(frame)), cv2.IMREAD_COLOR)
        if bgr is None:
            raise StremnError(f"{self.frame_file(frame)} is gone: open the video again")
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    def labels(self, frame: int) -> np.ndarray:
        """The object id of every pixel of a frame ``(H, W)`` uint8."""
        with self.lock:
            self.check(frame)
            file = self.mask_file(frame)
            return (
                read_mask(file, allow_empty=True).labels if file.exists() else np.zeros(self.size, np.uint8)
            )

    def given(self, frame: int) -> dict[int, np.ndarray]:
        """The masks ``(H, W)`` bool that were drawn at a frame, by object id; one may be empty."""
        with self.lock:
            ids = [i for i in self.objects if self.code(i, frame) == GIVEN]
            labels = self.labels(frame)
            return {i: np.asarray(labels == i) for i in ids}

    def given_frames(self) -> list[int]:
        """The frames at which something was drawn, in order."""
        with self.lock:
            rows = [self.row(i) for i in self.objects]
            return sorted({int(f) for row in rows for f in np.flatnonzero(row == GIVEN)})

    def code(self, object_id: int, frame: int) -> int:
        """What is known of an object at a frame."""
        return int(self.row(object_id)[frame])

    def check(self, frame: int, object_id: int | None = None) -> None:
        """Refuse a frame or an object that is not there.

        Raises:
            StremnError: naming it.
        """
        if not 0 <= frame < self.count:
            raise StremnError(f"there is no frame {frame}: frames go from 0 to {self.count - 1}")
        if object_id is not None and object_id not in self.objects:
            raise StremnError(f"there is no object {object_id}: add one first")

    def add_object(self, name: str = "") -> int:
        """A new object; its id."""
        with self.lock:
            free = next((i for i in range(1, MOST_OBJECTS + 1) if i not in self.objects), None)
            if free is None:
                raise StremnError(f"there are {MOST_OBJECTS} objects already: remove one first")
            with self.action("new object"):
                self.objects[free] = name.strip()[:60] or f"object {free}"
            return free

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object another name."""
        with self.lock:
            self.check(0, object_id)
            with self.action("name"):
                self.objects[object_id] = name.strip()[:60] or f"object {object_id}"

    def remove_object(self, object_id: int) -> None:
        """Remove an object and all of its masks."""
        with self.lock:
            self.check(0, object_id)
            with self.action("remove"):
                for frame in np.flatnonzero(self.row(object_id) != NONE).tolist():
                    labels = self.labels(frame)
                    labels[labels == object_id] = 0
                    self._write(frame, labels)
                del self.objects[object_id]
                self.timeline.pop(object_id, None)
                self.edits.add((-1, 0))

    def draw(self, frame: int, object_id: int, mask: np.ndarray) -> None:
        """Give an object's mask at a frame; it stays, whatever is followed through the frame.

        Args:
            frame: its index.
            object_id: of an object that is there.
            mask: ``(H, W)`` bool; empty says that the object is not to be seen.
        """
        with self.lock:
            self.check(frame, object_id)
            with self.action("draw"):
                labels = self.labels(frame)
                labels[labels == object_id] = 0
                labels[mask] = object_id
                self._write(frame, labels)
                self.row(object_id)[frame] = GIVEN
                self.edits.add((frame, object_id))

    def clear(self, frame: int, object_id: int) -> None:
        """Take back what is known of an object at a frame."""
        with self.lock:
            self.check(frame, object_id)
            with self.action("clear"):
                labels = self.labels(frame)
                labels[labels == object_id] = 0
                self._write(frame, labels)
                self.row(object_id)[frame] = NONE
                self.edits.add((frame, object_id))

    def take(self, frame: int, labels: np.ndarray, codes: Mapping[int, int]) -> dict[int, int]:
        """Take what was found in a frame; what was drawn there stays, and so do objects not followed.

        Args:
            frame: its index.
            labels: ``(H, W)`` uint8.
            codes: by the ids of the objects that were followed.

        Returns:
            The codes that changed.
        """
        with self.lock:
            before, labels = self.labels(frame), labels.copy()
            changed = {i: c for i, c in codes.items() if i in self.objects and self.code(i, frame) != GIVEN}
            drawn = {i for i in self.objects if self.code(i, frame) == GIVEN}
            labels[np.isin(labels, list(drawn))] = 0
            for object_id in np.unique(before[before > 0]).tolist():
                if object_id in drawn or object_id not in codes:
                    labels[(before == object_id) & ((object_id in drawn) | (labels == 0))] = object_id
            self._write(frame, labels)
            for object_id, code in changed.items():
                self.row(object_id)[frame] = code
            return changed

    @contextmanager
    def action(self, label: str, *, tracking: bool = False) -> Iterator[None]:
        """What is changed in the context is undone as one, at once if it fails.

        The lock is not held, so that a run of tracking is one action; what edits pauses it first.

        Args:
            label: what is done.
            tracking: keep what was found until it failed, or until the process ended in the middle.
        """
        with self.lock:
            folder = self.folder / "undo" / f"{self._steps:06d}"
            rows = {i: row.copy() for i, row in self.timeline.items()}
            self._undo.append(_Step(label, folder, dict(self.objects), rows))
            self._steps += 1
            if len(self._undo) > MOST_UNDO:
                shutil.rmtree(self._undo.popleft().folder, ignore_errors=True)
        self._tracking = tracking
        try:
            if tracking:
                self.save()
            yield
            self._tracking = False
            self.save()
        except BaseException:
            with self.lock:
                self._tracking = False
                if tracking:
                    with suppress(StremnError):  # of a full disk; the first error is the one to tell
                        self.save()
                else:
                    self._restore(self._undo.pop())
            raise
        with self.lock:
            step = self._undo[-1]
            if not step.frames and step.objects == self.objects:
                self._undo.pop()  # nothing came of it

    @property
    def undo_label(self) -> str | None:
        """What would be undone."""
        return self._undo[-1].label if self._undo else None

    def undo(self) -> None:
        """Undo the latest action.

        Raises:
            StremnError: if there is none.
        """
        with self.lock:
            if not self._undo:
                raise StremnError("nothing to undo")
            self._restore(self._undo.pop())
            self.save()

    def _restore(self, step: _Step) -> None:
        """Bring back what was before an action."""
        for frame, had in step.frames.items():
            kept = step.folder / f"{frame:06d}.png"
            if kept.exists():
                kept.replace(self.mask_file(frame))
            elif not had:
                self.mask_file(frame).unlink(missing_ok=True)
        shutil.rmtree(step.folder, ignore_errors=True)
        self.objects, self.timeline = step.objects, step.timeline
        self.edits.add((-1, 0))
        self.revision += 1

    def save(self) -> None:
        """Write ``project.json``, by which the project is opened again."""
        with self.lock:
            rows = {i: base64.b64encode(self.row(i).tobytes()).decode() for i in self.objects}
            facts = {
                "source": self.source,
                "origin": self.origin,
                "rate": str(self.rate),
                "size": self.size,
                "names": self.names,
                "objects": self.objects,
                "timeline": rows,
                "complete": self.complete,
                "tracking": self._tracking,
            }
            write_json(self.folder / "project.json", facts)

    def _load(self) -> None:
        facts = _facts(self.folder) or {}
        try:
            self.source, self.origin, self.rate = facts["source"], facts["origin"], Fraction(facts["rate"])
            self.size, self.names = (facts["size"][0], facts["size"][1]), facts["names"]
            self.objects = {int(i): name for i, name in facts["objects"].items()}
            self.complete = True
            for i, row in facts["timeline"].items():
                self.row(int(i))[:] = np.frombuffer(base64.b64decode(row), np.uint8)
            if facts.get("tracking"):
                self._found_without_a_code()
            if not facts.get("complete", True):  # it is read once more, and what was drawn stays
                self.complete, self.names = False, []
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _damaged(self.folder) from error

    def _found_without_a_code(self) -> None:
        """Say of objects in masks that they were followed, where the process ended before it was written."""
        for frame in range(self.count):
            if self.mask_file(frame).exists():
                for object_id in np.unique(self.labels(frame)).tolist():
                    if object_id in self.objects and self.code(object_id, frame) == NONE:
                        self.row(object_id)[frame] = sure(0)

    def row(self, object_id: int) -> np.ndarray:
        """The codes of an object, one for each frame that was read; to be changed in place."""
        row = self.timeline.get(object_id)
        if row is None or len(row) < self.count:
            # While the video is read; it then has places for frames to come.
            row = np.zeros(self.count if self.complete else 2 * self.count + 64, np.uint8)
            old = self.timeline.get(object_id, row[:0])
            row[: len(old)] = old
            self.timeline[object_id] = row
        return row[: self.count]

    def _write(self, frame: int, labels: np.ndarray) -> None:
        """Replace a mask, keeping the one before for undo."""
        file, step = self.mask_file(frame), self._undo[-1]
        if frame not in step.frames:
            if had := file.exists():
                kept = step.folder / f"{frame:06d}.png"
                with writing(kept):
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, kept)
            step.frames[frame] = had
        write_mask(file, labels)
        self.revision += 1


def _facts(folder: Path) -> dict[str, Any] | None:
    """What ``project.json`` says; ``None`` if there is none."""
    path = folder / "project.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError) as error:
        raise _damaged(folder) from error
    if facts is not None and not isinstance(facts, dict):
        raise _damaged(folder)
    return facts


def _damaged(folder: Path) -> StremnError:
    return StremnError(f"{folder / 'project.json'} is damaged: remove its folder, or give another one")
