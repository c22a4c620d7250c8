"""Everything that is said beside the results: one console on stderr, shared with the progress bar."""

import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import ParamSpec, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = [
    "FrameProgress",
    "Interrupted",
    "Stop",
    "interruptible",
    "notes",
    "show_log",
    "stop_between_frames",
]

notes = Console(stderr=True)
"""Stderr. A bar and the lines above it must come through one console, or they overwrite each other."""


class _Lines(logging.Handler):
    """One line for each record, however long: a terminal wraps it, a file or a pipe keeps it whole."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record; warnings say that they are."""
        warning = record.levelno >= logging.WARNING
        notes.print(
            f"{record.levelname.lower()}: {record.getMessage()}" if warning else record.getMessage(),
            style="yellow" if warning else "",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def show_log() -> Iterator[None]:
    """Print what the package logs, from the level of information upwards."""
    logger, handler = logging.getLogger("stremn"), _Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


SECONDS_BETWEEN_LINES = 5.0


class FrameProgress:
    """Counts frames; shows frames per second and the time left. A context manager.

    Args:
        label: what is being done.
        total: frames in all, ``None`` where that is not known.
    """

    def __init__(self, label: str, total: int | None) -> None:
        """Nothing is shown before the context is entered."""
        self.label, self.total, self.count = label, total, 0
        self._bar: Progress | None = None
        self._started = self._shown = time.monotonic()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        """From the start to the end of the context, or to now within it."""
        return (self._ended or time.monotonic()) - self._started

    @property
    def rate(self) -> float:
        """Frames per second so far."""
        return self.count / max(self.seconds, 1e-9)

    def __enter__(self) -> Self:
        """Start the clock, and the bar on a terminal."""
        self._started = self._shown = time.monotonic()
        if notes.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=notes)
            self._task = self._bar.add_task(self.label, total=self.total, rate="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock and the bar, or write the last line."""
        self._ended = time.monotonic()
        if self._bar is not None:
            self._bar.stop()
        elif self.count:
            self._line()

    def advance(self, frames: int = 1) -> None:
        """One frame is done, or several."""
        self.count += frames
        if self._bar is not None:
            self._bar.update(self._task, completed=self.count, rate=f"{self.rate:.1f} frames/s")
        elif time.monotonic() - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            self._line()

    def _line(self) -> None:
        total = f"/{self.total}" if self.total else ""
        left = max(0, (self.total or self.count) - self.count) / max(self.rate, 1e-9)
        rest = f", {left:.0f} s left" if self.total else ""
        line = f"{self.label}: {self.count}{total} frames, {self.rate:.1f} frames/s{rest}"
        notes.print(line, markup=False, highlight=False, soft_wrap=True)


P = ParamSpec("P")
R = TypeVar("R")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818  (it is no error)
    """A run was stopped by a signal; raised past the command line library, which would hide it."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        """``number`` of the signal."""
        super().__init__(f"interrupted by signal {number}")
        self.status = 128 + number


class Stop:
    """Whether a run shall stop: true once a signal has come."""

    def __init__(self) -> None:
        """No signal yet."""
        self.number = 0

    def __bool__(self) -> bool:
        """Whether one has come."""
        return self.number != 0


@contextmanager
def stop_between_frames() -> Iterator[Stop]:
    """Within the context the first Ctrl-C, or a request to terminate, is only noted; the second interrupts.

    So masks and overlay end with the same frame. Outside the main thread, where Python takes no signals,
    nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.number = number

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def interruptible(command: Callable[P, R]) -> Callable[P, R]:
    """A command that says so when it is interrupted."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (KeyboardInterrupt, Interrupted) as stopped:
            with suppress(OSError):
                notes.print("stremn: interrupted; the files written so far are complete", highlight=False)
            raise (stopped if isinstance(stopped, Interrupted) else Interrupted()) from None

    return run
