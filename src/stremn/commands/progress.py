"""Progress of a long run: a bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stremn.commands.notes import notes

__all__ = ["FrameProgress"]

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
