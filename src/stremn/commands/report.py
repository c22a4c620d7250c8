"""What all tables have in common: a folder, a view on the terminal, facts below it."""

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from stremn.commands.console import PIPE_WIDTH
from stremn.errors import StremnError
from stremn.files.atomic import write_error

__all__ = ["counted", "make_folder", "new_table", "show"]


def make_folder(folder: Path) -> None:
    """Make the output folder, unless it is there.

    Raises:
        StremnError: if it cannot be made or is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise StremnError(f"output {folder} is a file: give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def counted(number: int, name: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def new_table(title: str | None, *headings: str) -> Table:
    """A view whose first column names the rows and whose others hold figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def show(*tables: Table, facts: Mapping[str, str] | None = None) -> None:
    """Print tables, then what a reader must know of them, each in a sentence."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    for table in tables:
        console.print(table)
    for name, text in (facts or {}).items():
        console.print(f"{name}: {text}", markup=False, highlight=False, soft_wrap=True)
