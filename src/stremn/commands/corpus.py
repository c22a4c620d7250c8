"""One video of a corpus, as each worker of any engine does it: whole, or not at all."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from stremn.commands import options
from stremn.commands.console import explained, notes, printable, stop_between_frames
from stremn.commands.prompts import ObjectOptions
from stremn.commands.segment import segment_video
from stremn.errors import StremnError, one_line

if TYPE_CHECKING:
    from stremn.files.corpus import CorpusVideo
    from stremn.sessions import OnnxSession, SegmentationSession

__all__ = ["Outcome", "Work", "read_finished", "remove_parts", "run_video"]

_PART = ".{}.stremn-part"
_MOST_WARNINGS = 100


@dataclass(frozen=True)
class Work:
    """What is done with each video.

    Attributes:
        out: folder of all results, on a file system that all workers see.
        asked: of the session.
        wanted: exports.
        threads: of a worker.
    """

    out: Path
    asked: options.SessionOptions
    wanted: options.ExportOptions
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a video: its summary, or an error on one line; and warnings."""

    summary: dict[str, Any] | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


def read_finished(folder: Path) -> dict[str, Any] | None:
    """The summary of a video that was finished; ``None`` of one that was not, or has none."""
    try:
        summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return None if summary["interrupted"] else summary
    except (OSError, ValueError, LookupError, TypeError):
        return None


def remove_parts(out: Path) -> None:
    """Remove what workers left that were killed; none may be at work."""
    for part in out.glob(_PART.format("*")):
        shutil.rmtree(part, ignore_errors=True)


def run_video(video: "CorpusVideo", work: Work) -> Outcome:
    """Segment a video into a folder of its own, unless that was done.

    The folder gets its name when it is complete; nothing is left of one that is not, unless this process is
    killed. Any error is the video's, and no other one suffers.

    Raises:
        SystemExit: if a signal came that asks to stop.
    """
    folder, part = work.out / video.name, work.out / _PART.format(uuid4().hex)
    if summary := read_finished(folder):
        return Outcome(summary)
    with _told() as told:
        try:
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise StremnError(f"{folder} is there, and is no finished result: move it away")
            with stop_between_frames(launched=True) as stop:
                session = _session(work.asked, work.threads)
                session.reset()
                objects = ObjectOptions(masks=video.masks)
                summary = segment_video(
                    video.source, part, objects, work.asked, work.wanted, lambda: session, stop
                )
            if stop:
                sys.exit(128 + stop.number)
            os.rename(part, folder)
        except Exception as error:
            message = explained(error) or f"{type(error).__name__}: {one_line(error)}"
            return Outcome(error=printable(message), warnings=told())
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return Outcome(summary, warnings=told())


@lru_cache(maxsize=1)
def _session(asked: options.SessionOptions, threads: int) -> "SegmentationSession | OnnxSession":
    """The session of this process, which one video after the other uses."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    return asked.segmentation_session(threads=threads)


class _Kept(logging.Handler):
    """Keeps what is said, the first of it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a record."""
        if len(self.said) < _MOST_WARNINGS:
            self.said.append(record.getMessage())


@contextmanager
def _told() -> Iterator[Callable[[], tuple[str, ...]]]:
    """Gives what was warned of within the context, where nothing of progress is shown."""
    logger, handler, quiet = logging.getLogger("stremn"), _Kept(), notes.quiet
    logger.addHandler(handler)
    notes.quiet = True
    try:
        yield lambda: tuple(handler.said)
    finally:
        notes.quiet = quiet
        logger.removeHandler(handler)
