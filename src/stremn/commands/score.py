"""`stremn score`: J and F of predicted masks against true ones."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stremn.commands.console import notes
from stremn.errors import StremnError
from stremn.files.atomic import replacing
from stremn.metrics import Score, ScoreTable, score_folders

__all__ = ["print_scores", "render_scores", "score"]

PIPE_WIDTH = 160
"""Columns of output that goes to a file or a pipe, which has no width of its own."""


def score(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of one folder of PNG masks per sequence, or of one sequence.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Folder of the true masks, laid out alike, or the root of a DAVIS copy.")
    ],
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="List of the sequences to score, one name per line.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all scores as JSON.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all scores as CSV.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads.  [default: one per core]")] = None,
) -> None:
    """Score predicted masks: region similarity J and contour accuracy F, as DAVIS 2017 defines them.

    The table is in percent; JSON and CSV hold fractions of 1. The first and the last frame are not scored.
    """
    for path in (json_file, csv_file):
        if path and not path.absolute().parent.is_dir():
            raise StremnError(f"{path} cannot be written: make the folder {path.absolute().parent} first")
    with Progress(console=notes, transient=True, disable=not notes.is_terminal) as bar:
        task = bar.add_task("scoring", total=None)
        table = score_folders(
            predictions,
            truth,
            split=split,
            jobs=jobs,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if json_file:
        _write(json_file, table.to_json())
    if csv_file:
        _write(csv_file, table.to_csv())
    print_scores(table)


def print_scores(table: ScoreTable) -> None:
    """Print the table of `render_scores` on stdout, at its full width if that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    console.print(render_scores(table))


def render_scores(table: ScoreTable) -> Table:
    """Scores as a table in percent: one line per object, and a mean where a sequence has several."""
    # Two blanks between columns: DAVIS fits 80.
    view = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption="percent; R recall (> 50), D decay"
    )
    view.add_column("sequence", overflow="fold")
    for heading in ("object", "J&F", "J", "J-R", "J-D", "F", "F-R", "F-D"):
        view.add_column(heading, justify="right", no_wrap=True)
    for sequence in table.sequences:
        members = [o for o in table.objects if o.sequence == sequence.sequence]
        for member in members:
            view.add_row(member.sequence, str(member.object_id), *_percent(member))
        if len(members) > 1:
            view.add_row(sequence.sequence, "mean", *_percent(sequence), style="bold")
    view.add_section()
    view.add_row("overall", str(len(table.objects)), *_percent(table.overall), style="bold")
    return view


def _percent(score: Score) -> list[str]:
    return [f"{100 * value:.1f}" for value in score.values().values()]


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
