"""Following the objects of a project in a thread of its own, forward or back, to be paused and corrected."""

from bisect import bisect_right
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np

from stremn.errors import StremnError, one_line
from stremn.memory import MemoryHistory
from stremn.sessions import SegmentationResult, SegmentationSession
from stremn.studio.project import LOST, Project, sure

__all__ = ["Tracker"]

MOST_RECALLED = 2
"""Frames with given masks that a new session sees before the one where it begins."""


class Tracker:
    """Follows the objects of a project frame by frame; one thread at a time.

    A run goes on with the memory of the one before if it begins where that one stopped and nothing but this
    frame was changed; what was drawn there is a correction. Otherwise it begins anew: with the first and the
    latest frame where something was given, then with the masks of the frame where it begins.

    Args:
        project: what is followed; it takes the masks.
        open_session: called once, when first needed.
        tell: called with news of every frame, from the thread: its index, the codes and the slots by object
            id; and with ``error`` or ``None`` when a run ends.
    """

    def __init__(
        self,
        project: Project,
        open_session: Callable[[], SegmentationSession],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self.project, self.open_session, self.tell = project, open_session, tell
        self.session: SegmentationSession | None = None
        self.direction = 0
        self.at = -1
        """Frame that the session saw last."""
        self.seen: list[int] = []
        """Frames that it saw before those of the run, which follow one another."""
        self.history = MemoryHistory()
        self._now = -1, -1
        self.running = 0
        """The direction of the run that is on, 0 for none."""
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self, frame: int, direction: int) -> None:
        """Follow from the masks of a frame on.

        Args:
            frame: its index.
            direction: 1 is forward, -1 back.

        Raises:
            StremnError: if a run is on, or nothing is drawn at the frame.
        """
        if self.running:
            raise StremnError("objects are being followed already: pause first")
        self.project.check(frame)
        if not self.project.labels(frame).any():
            raise StremnError(f"nothing is drawn at frame {frame}: draw an object first")
        self._stop.clear()
        self.running = direction
        self._thread = Thread(target=self._guarded, args=(frame, direction), daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop after the frame that is being looked at."""
        self._stop.set()
        self.wait()

    def wait(self, seconds: float | None = None) -> None:
        """Until a run has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def slots(self, frame: int) -> dict[int, list[int]]:
        """By object id the frames that sat in its slots after a frame of the latest run, -1 where empty."""
        step = self._step_of(frame)
        found = {}
        for object_id, moments in self.history.moments.copy().items():
            place = bisect_right(moments, step, key=lambda moment: moment[0]) - 1
            if place >= 0 and step >= 0:
                found[object_id] = [self._frame_of(index) for index in moments[place][1]]
        return found

    def slot_names(self) -> list[str]:
        """What each slot is for, as :class:`stremn.memory.MemoryHistory` orders them."""
        if self.session is None:
            return []
        layout = self.session.rules.layout
        named = {"first": layout.permanent, "latest": layout.latest, "chosen": layout.chosen}
        named["corrected"] = layout.corrections
        return [name for name, slots in named.items() for _ in range(slots)]

    def _frame_of(self, index: int) -> int:
        """The frame of the project that the session knows under an index, -1 for none."""
        if index < 0:
            return -1
        last, at = self._now
        return self.seen[index] if index < len(self.seen) else at - (last - index) * self.direction

    def _step_of(self, frame: int) -> int:
        """The inverse; -1 if the frame was not in the run."""
        last, at = self._now
        index = last - (at - frame) * self.direction
        return index if self.direction and len(self.seen) - 1 <= index <= last else -1

    def _guarded(self, frame: int, direction: int) -> None:
        error = None
        try:
            with self.project.action("track forward" if direction > 0 else "track back", tracking=True):
                self._run(frame, direction)
        except StremnError as refused:
            error, self.direction = str(refused), 0
        except Exception as broken:
            # Whatever it is, the page must say it, and the masks so far are complete.
            error, self.direction = f"tracking stopped: {one_line(broken)}", 0
        self.running = 0  # first, as whoever is told looks at once
        self.tell({"ended": True, "error": error})

    def _run(self, frame: int, direction: int) -> None:
        project = self.project
        edits, project.edits = project.edits, set()
        ahead = [f for f, _ in edits if f >= 0 and (f - frame) * direction > 0]
        same = self.at == frame and self.direction == direction
        here = {i for f, i in edits if f == frame}
        if same and len(ahead) + len(here) == len(edits):
            self._correct(frame, here)
        else:
            self._begin(frame, direction)
        while not self._stop.is_set() and 0 <= frame + direction < project.count:
            frame += direction
            self._take(frame)

    def _begin(self, frame: int, direction: int) -> None:
        """A new session, told of what was given behind the frame where it begins."""
        self.session = self.session or self.open_session()
        self.session.reset()
        self.history = MemoryHistory()
        self.at, self.direction, self.seen, self._now = -1, direction, [], (-1, -1)
        behind = [f for f in self.project.given_frames() if (f - frame) * direction < 0][::direction]
        recalled = behind[:1] + behind[1:][1 - MOST_RECALLED :]
        for f in (*recalled, frame):
            labels = self.project.labels(f)
            ids = self.project.given(f) if f != frame else self.project.objects
            self._look(f, {i: labels == i for i in ids if (labels == i).any()})
            self.seen.append(f)
        self._remember()

    def _correct(self, frame: int, ids: set[int]) -> None:
        """What was drawn at the frame that the session saw last."""
        assert self.session is not None
        labels = self.project.labels(frame)
        masks = {i: labels == i for i in ids}
        followed = self.session.object_ids
        if masks := {i: mask for i, mask in masks.items() if mask.any() or i in followed}:
            self.session.correct(masks)

    def _look(self, frame: int, masks: dict[int, np.ndarray]) -> SegmentationResult:
        """The objects in the next frame; of those with a mask that is it, and they go on from there."""
        assert self.session is not None
        new = {i: mask for i, mask in masks.items() if i not in self.session.object_ids and mask.any()}
        result = self.session.step(self.project.image(frame), new or None)
        self.at = frame
        known = {i: mask for i, mask in masks.items() if i in self.session.object_ids and i not in new}
        return self.session.correct(known) if known else result

    def _take(self, frame: int) -> None:
        """Look for the objects in the next frame."""
        result = self._look(frame, self.project.given(frame))
        codes = {i: _code(result, i) for i in result.object_ids}
        changed = self.project.take(frame, result.labels, codes)
        self._remember()
        self.tell({"frame": frame, "codes": changed})

    def _remember(self) -> None:
        """Note what the memory holds, and after which frame: both at once, as the page asks meanwhile."""
        assert self.session is not None
        held, layout = self.session.frames_in_memory(), self.session.rules.layout
        self.history.add(self.session.frame_index, held, layout.corrections)
        self._now = self.session.frame_index, self.at


def _code(result: SegmentationResult, object_id: int) -> int:
    return LOST if result.lost[object_id] else sure(result.confidence[object_id])
