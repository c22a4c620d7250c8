"""All that the page can ask for: one open project, its tracker, its exports and a prediction."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from stremn.errors import StremnError, one_line
from stremn.exports import EXPORTS, Exports
from stremn.files import VideoWriter, overlay, write_mask, write_png
from stremn.files.outputs import make_folder, write_zip
from stremn.sessions import PredictionSession, SegmentationSession
from stremn.studio.pictures import colour
from stremn.studio.project import Project
from stremn.studio.shapes import drawn
from stremn.studio.tracking import Tracker

__all__ = ["Studio"]

MOST_FRAMES = 36_000
"""Of a video that is dropped on the page: 20 minutes at 30 frames a second."""

OBSERVED, FORESEEN = 5, 10
"""Frames that a prediction is made from, and how many it makes."""

_SAMPLE = 2**20  # bytes at both ends of a file by which it is known again
_EVERY = 20  # frames between two news of a long task


class _OtherOpenedError(StremnError):
    """Another video was opened while this one was read."""


class Studio:
    """What stands behind the page. Everything is kept here, so that a tab may be closed at any time.

    Args:
        root: folder in which each video gets a folder of its own; nothing is written elsewhere.
        open_session: makes the session that follows objects.

    Attributes:
        tell: called with news, from any thread.
    """

    def __init__(
        self, root: Path, open_session: Callable[[], SegmentationSession] = SegmentationSession
    ) -> None:
        make_folder(root)
        self.root = root
        self.open_session, self.open_predictor = cache(open_session), cache(PredictionSession)
        self.tell: Callable[[dict[str, Any]], None] = lambda news: None
        self.project: Project | None = None
        self.tracker: Tracker | None = None
        self.busy: str | None = None
        self.error: str | None = None
        self.prediction: dict[str, int] | None = None
        self._serial = 0
        self._one = RLock()
        self._reader: Thread | None = None
        self._held: FileLock | None = None

    def warm_up(self) -> None:
        """Load the networks, so that the first box and the first track do not wait for them."""
        blank = np.zeros((64, 96, 3), np.uint8)
        with suppress(StremnError):  # told when an object is shown or followed
            drawn("prompt", blank, blank[..., 0] > 0, [], box=(30, 20, 30, 20))
            self.open_session()

    def open(self, source: Path, *, upload: bool = False) -> None:
        """Open a video file or a folder of frames; what an earlier run made of it is there again.

        Reading goes on in a thread.

        Args:
            source: the file or folder.
            upload: it may not be too long, and is removed when it was read.

        Raises:
            StremnError: if it does not exist.
        """
        if not source.exists():
            raise StremnError(f"{source} does not exist: give a video file or a folder of frames")
        self.close()
        with self._one:
            self._serial += 1
            self.error = self.prediction = None
            project = self._project(source)
            self.project, self.tracker = project, Tracker(project, self.open_session, self._heard)
            if not project.complete:
                self._reader = Thread(target=self._read, args=(project, source, upload), daemon=True)
                self._reader.start()
            elif upload:
                source.unlink()

    def _project(self, source: Path) -> Project:
        """That of the same source, or an empty one in a folder of its own.

        Raises:
            StremnError: if another studio has it open.
        """
        origin = _origin(source)
        safe = re.sub(r"[^\w.-]+", "-", source.stem).strip(".-")[:60] or "video"
        for number in count(1):
            folder = self.root / (safe if number == 1 else f"{safe}-{number}")
            if not folder.exists() or Project.origin_of(folder) == origin:
                make_folder(folder)
                # Requests come in threads of their own, and any of them may let go of it.
                self._held = FileLock(folder / ".lock", timeout=0, thread_local=False)
                try:
                    self._held.acquire()
                except Timeout as error:
                    raise StremnError(
                        f"{source} is open in another stremn studio: close it, or give another --out"
                    ) from error
                return Project(folder, origin)
        raise AssertionError

    def _read(self, project: Project, source: Path, upload: bool) -> None:
        serial = self._serial

        def tell() -> None:
            if serial != self._serial:
                raise _OtherOpenedError
            if project.count % _EVERY == 1:
                self.tell({"count": project.count})

        try:
            project.read(source, most_frames=MOST_FRAMES if upload else None, tell=tell)
        except Exception as error:
            if serial == self._serial:
                self.project = self.tracker = None
                self.error = str(error) if isinstance(error, StremnError) else one_line(error)
            if not project.objects:  # else it is read on when it is opened again
                shutil.rmtree(project.folder, ignore_errors=True)
        finally:
            if upload:
                source.unlink(missing_ok=True)
            self.tell({"refresh": True})

    def close(self) -> None:
        """Stop what is running; masks are complete up to here."""
        self._serial += 1
        if self.tracker is not None:
            self.tracker.pause()
        if self._reader is not None:
            self._reader.join()
        if self._held is not None:
            self._held.release()

    def opened(self) -> Project:
        """The open project.

        Raises:
            StremnError: if there is none.
        """
        if self.project is None:
            raise StremnError("no video is open: drop one on the page")
        return self.project

    def state(self) -> dict[str, Any]:
        """All that the page shows but the pictures, as JSON values."""
        project, tracker = self.project, self.tracker
        said: dict[str, Any] = {"serial": self._serial, "busy": self.busy, "error": self.error}
        said |= {
            "exports": [[name, what] for name, (_, what) in _exports().items()],
            "prediction": self.prediction,
            "project": None,
        }
        if project is None or tracker is None:
            return said
        with project.lock:
            rows = {i: base64.b64encode(project.row(i).tobytes()).decode() for i in project.objects}
            said["project"] = {
                "name": project.source,
                "count": project.count,
                "complete": project.complete,
                "width": project.size[1],
                "height": project.size[0],
                "rate": float(project.rate),
                "objects": [
                    {"id": i, "name": name, "colour": colour(i), "timeline": rows[i]}
                    for i, name in project.objects.items()
                ],
                "revision": project.revision,
                "undo": project.undo_label,
                "running": tracker.running,
                "at": tracker.at,
                "exported": sorted(f.name for f in (project.folder / "exports").glob("*.*") if f.is_file()),
            }
        return said

    def _heard(self, news: dict[str, Any]) -> None:
        """Pass on what the tracker tells."""
        if "error" in news:
            self.error = news["error"]
            news = {"refresh": True}
        elif self.project is not None:
            news |= {"revision": self.project.revision}
        self.tell(news)

    @contextmanager
    def _editing(self) -> Iterator[Project]:
        """Change the project: alone, and while nothing is followed."""
        if self.busy:
            raise StremnError(f"{self.busy} is under way: wait for it")
        with self._one:
            project = self.opened()
            if not project.count:
                raise StremnError("the video is being read: wait for its first frame")
            assert self.tracker is not None
            self.tracker.pause()
            self.error = None
            yield project

    @contextmanager
    def _working(self, label: str) -> Iterator[Project]:
        """The same for what takes a while; other changes are refused until it is done."""
        with self._editing() as project:
            self.busy = label
            self.tell({"refresh": True})
            try:
                yield project
            finally:
                self.busy = None

    def add_object(self, name: str) -> int:
        """A new object; its id."""
        with self._editing() as project:
            return project.add_object(name)

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object another name."""
        with self._editing() as project:
            project.rename_object(object_id, name)

    def remove_object(self, object_id: int) -> None:
        """Remove an object and its masks."""
        with self._editing() as project:
            project.remove_object(object_id)

    def draw(
        self,
        frame: int,
        object_id: int,
        tool: str,
        points: list[list[float]],
        radius: float,
        box: list[float] | None,
        scribble: list[list[list[float]]],
    ) -> None:
        """Change the mask of an object at a frame, see :func:`stremn.studio.shapes.drawn`."""
        with self._editing() as project:
            project.check(frame, object_id)
            before = project.labels(frame) == object_id
            image = project.image(frame)
            project.draw(frame, object_id, drawn(tool, image, before, points, radius, box, scribble))

    def clear(self, frame: int, object_id: int) -> None:
        """Take back what is known of an object at a frame."""
        with self._editing() as project:
            project.clear(frame, object_id)

    def undo(self) -> None:
        """Undo the latest action, a run of tracking too."""
        with self._editing() as project:
            project.undo()

    def track(self, frame: int, direction: int) -> None:
        """Follow all objects from a frame on, forward (1) or back (-1)."""
        if direction not in (1, -1):
            raise StremnError("objects are followed forward, 1, or back, -1")
        with self._editing():
            assert self.tracker is not None
            self.tracker.start(frame, direction)

    def pause(self) -> None:
        """Stop following after the frame that is looked at."""
        if self.tracker is not None:
            self.tracker.pause()

    def slots(self, frame: int) -> dict[str, Any]:
        """What the memory held after a frame: names of slots, and by object id the frames in them."""
        if self.tracker is None:
            return {"names": [], "slots": {}}
        return {"names": self.tracker.slot_names(), "slots": self.tracker.slots(frame)}

    def export(self, name: str) -> str:
        """Write the masks in a format; the name of the file to fetch."""
        with self._working(f"export {name}") as project:
            if name not in _exports():
                raise StremnError(f"there is no export {name!r}: choose from {', '.join(_exports())}")
            make, _ = _exports()[name]
            folder = project.folder / "exports" / name
            shutil.rmtree(folder, ignore_errors=True)
            make_folder(folder)
            make(project, folder, lambda frame: self.tell({"export": name, "frame": frame}))
            files = sorted(f for f in folder.rglob("*") if f.is_file())
            target = folder.with_name(f"{name}{files[0].suffix if len(files) == 1 else '.zip'}")
            if len(files) == 1:
                files[0].replace(target)
            else:
                write_zip(target, {str(f.relative_to(folder)): f for f in files})
            shutil.rmtree(folder, ignore_errors=True)
            return target.name

    def exported(self, name: str) -> Path:
        """A file that :meth:`export` made.

        Raises:
            StremnError: if it made none of this name.
        """
        made = {f.name: f for f in (self.opened().folder / "exports").glob("*.*") if f.is_file()}
        if name not in made:
            raise StremnError("there is no such export: export again")
        return made[name]

    def predict(self, frame: int) -> None:
        """Foresee the frames after this one from the few up to it."""
        with self._working("prediction") as project:
            project.check(frame)
            session = self.open_predictor()
            session.reset()
            self.prediction = None
            for seen in range(max(0, frame - OBSERVED + 1), frame + 1):
                session.observe(project.image(seen))
            for ahead, foreseen in enumerate(islice(session.rollout(), FORESEEN), 1):
                make_folder(project.folder / "predicted")
                write_png(self._predicted(ahead), Image.fromarray(foreseen))
                self.prediction = {"frame": frame, "count": ahead}
                self.tell({"prediction": self.prediction})

    def predicted_file(self, ahead: int) -> Path:
        """The picture of a frame that was foreseen.

        Raises:
            StremnError: if it was not.
        """
        if self.prediction is None or not 1 <= ahead <= self.prediction["count"]:
            raise StremnError("this frame was not foreseen: predict first")
        return self._predicted(ahead)

    def _predicted(self, ahead: int) -> Path:
        return self.opened().folder / "predicted" / f"{ahead:06d}.png"


Export = Callable[[Project, Path, Callable[[int], None]], None]


def _exports() -> dict[str, tuple[Export, str]]:
    """What can be exported, by name: what writes files of a project into a folder, and a line about it."""
    own: dict[str, tuple[Export, str]] = {
        "masks": (_write_masks, "palette PNG for each frame"),
        "overlay": (_write_overlay, "the video with its objects drawn on, MP4"),
    }
    return own | {name: (partial(_write, name), kind.description) for name, kind in EXPORTS.items()}


def _write_masks(project: Project, folder: Path, tell: Callable[[int], None]) -> None:
    for frame in range(project.count):
        write_mask(folder / project.mask_file(frame).name, project.labels(frame))
        tell(frame)


def _write_overlay(project: Project, folder: Path, tell: Callable[[int], None]) -> None:
    with VideoWriter(folder / "overlay.mp4", project.rate) as video:
        for frame in range(project.count):
            video.write(overlay(project.image(frame), project.labels(frame)))
            tell(frame)


def _write(name: str, project: Project, folder: Path, tell: Callable[[int], None]) -> None:
    with Exports(folder, [name], names=project.objects, frame_rate=project.rate) as exports:
        for frame in range(project.count):
            exports.write(project.image(frame), project.labels(frame), index=frame, name=project.names[frame])
            tell(frame)


def _origin(source: Path) -> str:
    """What tells a source from others of its name, wherever it lies: names, sizes and some of the bytes."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    digest = sha256(repr([(file.name, file.stat().st_size) for file in files if file.is_file()]).encode())
    for file in (files[0], files[-1]) if files else ():
        if file.is_file():
            with file.open("rb") as opened:
                digest.update(opened.read(_SAMPLE))
                opened.seek(max(0, file.stat().st_size - _SAMPLE))
                digest.update(opened.read(_SAMPLE))
    return f"{source.name} {digest.hexdigest()}"
