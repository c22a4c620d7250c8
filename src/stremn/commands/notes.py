"""Everything that is said beside the results: one console on stderr, shared with the progress bar."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

__all__ = ["notes", "show_log"]

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
