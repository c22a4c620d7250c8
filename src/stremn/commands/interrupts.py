"""Interruption: at once where nothing is at stake, between two frames where outputs must stay in step."""

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ParamSpec, TypeVar

from stremn.commands.notes import notes

__all__ = ["Interrupted", "Stop", "interruptible", "stop_between_frames"]

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
