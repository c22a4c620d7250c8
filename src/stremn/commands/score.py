"""``stremn score``: J and F of predicted masks against true ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stremn.commands import options
from stremn.commands.console import count_files, new_table, printable, show

if TYPE_CHECKING:
    from rich.table import Table

    from stremn.metrics import Score, ScoreTable

__all__ = ["render_scores", "score"]


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
    from stremn.files import write_text
    from stremn.metrics import score_folders

    options.check_writable(json_file, csv_file)
    with count_files("scoring") as seen:
        table = score_folders(
            predictions,
            truth,
            split=split,
            jobs=jobs,
            progress=lambda done, total: seen("scoring", done, total),
        )
    for path, text in ((json_file, table.to_json), (csv_file, table.to_csv)):
        if path:
            write_text(path, text())
    show(render_scores(table))


def render_scores(table: "ScoreTable") -> "Table":
    """Scores as a table in percent: one line per object, and a mean where a sequence has several."""
    headings = ("object", "J&F", "J", "J-R", "J-D", "F", "F-R", "F-D")
    view = new_table(["sequence"], headings, caption="percent; R recall (> 50), D decay")
    for sequence in table.sequences:
        members = [o for o in table.objects if o.sequence == sequence.sequence]
        for member in members:
            view.add_row(printable(member.sequence), str(member.object_id), *_percent(member))
        if len(members) > 1:
            view.add_row(printable(sequence.sequence), "mean", *_percent(sequence), style="bold")
    view.add_section()
    view.add_row("overall", str(len(table.objects)), *_percent(table.overall), style="bold")
    return view


def _percent(score: "Score") -> list[str]:
    return [f"{100 * value:.1f}" for value in score.values().values()]
