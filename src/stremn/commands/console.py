"""What the commands say: results on stdout, all else on stderr, through one console with the progress bar."""

import logging
import re
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from stremn.errors import StremnError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

__all__ = [
    "FrameProgress",
    "Interrupted",
    "RunProgress",
    "Stop",
    "attended",
    "count_files",
    "explained",
    "new_table",
    "note",
    "notes",
    "printable",
    "say",
    "show",
    "stop_between_frames",
]

PIPE_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, which has no width of its own."""

SECONDS_BETWEEN_LINES = 5.0
"""How often progress is told where there is no terminal."""

notes = Console(stderr=True, markup=False, emoji=False, highlight=False)
"""Stderr. A bar and the lines above it must come through one console, or they overwrite each other."""


def printable(text: object) -> str:
    r"""Text on one line that any terminal shows as it is.

    Line breaks become blanks; control characters and the stray bytes of a file name become escapes.

    Examples:
        >>> print(printable("caf\udce9 [1].mp4\x1b"))
        caf\udce9 [1].mp4\x1b
    """
    line = re.sub(r"\s*[\r\n]\s*", " ", str(text)).strip()
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in line)


def note(text: object, style: str = "") -> None:
    """Print one line on stderr, however long: a terminal wraps it, a file or a pipe keeps it whole."""
    try:
        notes.print(printable(text), style=style, soft_wrap=True)
    except OSError:  # nobody reads it any more, and it is not to be printed with what comes next
        with suppress(OSError), notes.capture():
            pass


def say(text: object) -> None:
    """Print one line of results on stdout."""
    print(printable(text))


def explained(error: Exception) -> str | None:
    """What a user reads of an error on one line, with the remedy; ``None`` of one that nobody expects.

    It is empty where help has been printed already.
    """
    torch = sys.modules.get("torch")
    if (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    ):
        return "out of memory: give a smaller --size, fewer --slots or fewer objects"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check that it is there and that you may use it"
    if hasattr(error, "format_message"):  # of Typer: how the command was written
        said, context = error.format_message().strip().rstrip("."), getattr(error, "ctx", None)
        return f"{said}; see '{context.command_path} --help'" if said and context else said
    return str(error) if isinstance(error, StremnError | OSError) else None


def new_table(names: Sequence[str], figures: Sequence[str], **style: Any) -> "Table":
    """A table without rows.

    Args:
        names: headings of the columns that say what a row is of; the last to be cut short.
        figures: headings of the columns of numbers.
        **style: title and caption, as :class:`rich.table.Table` takes them.
    """
    from rich import box
    from rich.table import Table

    # Two blanks between columns: the scores of DAVIS fit 80.
    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), **style)
    for heading in names:
        view.add_column(heading, overflow="fold")
    for heading in figures:
        view.add_column(heading, justify="right", no_wrap=True)
    return view


def show(*tables: "Table") -> None:
    """Print tables on stdout, at their full width if that is no terminal."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    for table in tables:
        console.print(table)


class _Lines(logging.Handler):
    """Notes what the package logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record on one line; warnings say that they are."""
        if record.levelno >= logging.WARNING:
            note(f"{record.levelname.lower()}: {record.getMessage()}", "yellow")
        else:
            note(record.getMessage())


@contextmanager
def attended() -> Iterator[None]:
    """Somebody reads along: within the context the log is printed and Ctrl-C raises :class:`Interrupted`.

    Characters that the encoding of stdout lacks are printed as escapes.
    """
    logger, handler = logging.getLogger("stremn"), _Lines()
    with ExitStack() as after:
        if isinstance(sys.stdout, TextIOWrapper):
            after.callback(sys.stdout.reconfigure, errors=sys.stdout.errors)
            sys.stdout.reconfigure(errors="backslashreplace")
        after.callback(logger.setLevel, logger.level)
        after.callback(logger.removeHandler, handler)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        after.enter_context(_on_signals(_interrupt, signal.SIGINT))
        yield


class RunProgress:
    """How far a run is: a bar on a terminal, a line now and then elsewhere. A context manager.

    Args:
        label: what is being done.
    """

    def __init__(self, label: str) -> None:
        self.label = printable(label)
        self._bar: Progress | None = None
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int | None, facts: str, line: str, last: bool = False) -> None:
        """Tell how far it is.

        Args:
            done: frames or steps.
            total: of them in all, ``None`` where that is not known.
            facts: what stands in the bar.
            line: what is printed where there is no terminal, if the last line was some time ago.
            last: print the line whenever the last one was.
        """
        if notes.is_terminal:
            if self._bar is None:
                self._bar = _bar("{task.fields[facts]}")
                self._bar.add_task(self.label, total=total, facts="")
                self._bar.start()
            self._bar.update(self._bar.task_ids[0], completed=done, facts=facts)
        elif last or time.monotonic() - self._shown >= SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            note(line)


class FrameProgress(RunProgress):
    """Counts frames; shows frames per second and the time left. A context manager.

    Args:
        label: what is being done.
        total: frames in all, ``None`` where that is not known.
    """

    def __init__(self, label: str, total: int | None) -> None:
        super().__init__(label)
        self.total, self.count = total, 0
        self._started = time.monotonic()
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
        self.advance(0)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the clock and the bar, or write the last line."""
        self._ended = time.monotonic()
        if self.count:
            self.advance(0, last=True)
        super().__exit__(*error)

    def advance(self, frames: int = 1, last: bool = False) -> None:
        """One frame is done, or several; the line of the ``last`` is always printed."""
        self.count += frames
        rate = f"{self.rate:.1f} frames/s"
        total = f"/{self.total}" if self.total else ""
        left = max(0, (self.total or self.count) - self.count) / max(self.rate, 1e-9)
        rest = f", {left:.0f} s left" if self.total else ""
        line = f"{self.label}: {self.count}{total} frames, {rate}{rest}"
        self.show(self.count, self.total, rate, line, last)


@contextmanager
def count_files(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, nothing elsewhere; it vanishes with the context.

    Args:
        label: what is shown before the first call.

    Yields:
        A function that shows what is being done, how many files of it are done, and of how many.
    """
    if not notes.is_terminal:
        yield lambda label, done, total: None
        return
    with _bar(transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda label, done, total: bar.update(
            task, description=printable(label), completed=done, total=total
        )


def _bar(*fields: str, transient: bool = False) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        # Markup would take [brackets] in a file's name for a style.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(field, markup=False) for field in fields),
        TimeRemainingColumn(),
        console=notes,
        transient=transient,
    )


class Interrupted(BaseException):
    """A run was stopped by a signal; no ``KeyboardInterrupt``, which the command line library would hide.

    Attributes:
        status: the exit status that tells of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.status = 128 + number


@dataclass
class Stop:
    """Whether a run shall stop: true once a signal has come, which has this number."""

    number: int = 0

    def __bool__(self) -> bool:
        """Whether one has come."""
        return self.number != 0


@contextmanager
def stop_between_frames(*, launched: bool = False) -> Iterator[Stop]:
    """Within the context the first Ctrl-C, or a request to terminate, is only noted; the second interrupts.

    So masks and overlay end with the same frame.

    Args:
        launched: as one of several processes, for which a second signal is the launcher passing on the first.
    """
    stop = Stop()

    def take_note(number: int, frame: FrameType | None) -> None:
        if stop and not launched:
            _interrupt(number, frame)
        stop.number = stop.number or number

    with _on_signals(take_note, signal.SIGINT, signal.SIGTERM, *_hang_up()):
        yield stop


def _hang_up() -> list[signal.Signals]:
    """The signal of a terminal that closes, unless it is ignored on purpose, as under ``nohup``."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return []
    return [signal.SIGHUP]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


@contextmanager
def _on_signals(handle: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handle these signals within the context; nothing changes outside the main thread, which gets none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
