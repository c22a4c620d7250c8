"""``stremn figures``: the paper's figures of what ``stremn evaluate`` left in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.console import say
from stremn.errors import StremnError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["figures"]


def figures(
    run: Annotated[Path, typer.Argument(help="Folder that 'stremn evaluate DATA --out RUN' wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default RUN/figures.")] = None,
    sequences: Annotated[
        str | None, typer.Option(help="Show these, separated by commas, in place of best and worst.")
    ] = None,
) -> None:
    """Draw Fig. 3 to 11 of the paper for a run: ages of templates, frames in memory, best and worst cases."""
    from PIL import Image

    from stremn.files.outputs import make_folder, write_png
    from stremn.tables.figures import read_record
    from stremn.tables.plots import plot_ages

    record, names = read_record(run), options.listed(sequences)
    out = run / "figures" if out is None else out
    try:
        title, ages, sheets = (_segmentation if "memory" in record else _prediction)(run, record, names)
    except (KeyError, TypeError, IndexError) as error:
        raise StremnError(f"{run}: its record lacks {error}: run 'stremn evaluate' again") from error
    make_folder(out)
    for name, picture in sheets.items():
        write_png(out / f"{name}.png", Image.fromarray(picture))
    plot_ages({title: ages}, out / "ages.png", title="Age of the chosen templates, $d^K[t]$")
    say(f"{len(sheets) + 1} pictures; see {out}")


Drawn = tuple[str, "np.ndarray", dict[str, "np.ndarray"]]
"""What was run, the share of each age, and pictures by name."""


def _segmentation(run: Path, record: Mapping[str, Any], names: tuple[str, ...] | None) -> Drawn:
    from itertools import zip_longest

    import numpy as np

    from stremn.files.names import some_of
    from stremn.tables.figures import CASES, PlayedSequence, best_and_worst, memory_sheet, sequences_sheet

    known = PlayedSequence.all_of(run, record)
    scores = {name: score["j_and_f"] for name, score in record.get("sequences", {}).items()}
    for name in names or ():
        if name not in known:
            raise StremnError(
                f"--sequences names '{name}', which {run} lacks: choose from {some_of([*known], 8)}"
            )
    best, worst = best_and_worst(scores)
    groups = {"best": best, "worst": worst} if names is None else {"sequences": names}
    sheets = {
        group: sequences_sheet([known[name] for name in members], scores)
        for group, members in groups.items()
        if members
    }
    if not sheets:
        say(f"{run} has no scores, so there are no best and worst: show some by --sequences")
    changed = {name: most for name in names or known if (most := known[name].most_changed)}
    moved = [*changed] if names else sorted(changed, key=lambda name: changed[name][1], reverse=True)[:CASES]
    for name in moved:
        sheets[f"memory-{name}"] = memory_sheet(known[name], changed[name][0])
    every = zip_longest(*(sequence.ages for sequence in known.values()), fillvalue=0)
    ages = np.array([sum(counts) for counts in every] or [0])
    settings = record["settings"]
    title = f"{settings['model']}, {settings['policy']}, K = {settings['slots']}"
    return title, ages / max(1, ages.sum()), sheets


def _prediction(run: Path, record: Mapping[str, Any], names: tuple[str, ...] | None) -> Drawn:
    import numpy as np

    from stremn.tables.figures import best_and_worst, clips_sheet

    options.refuse("clips, which have numbers", sequences=names)
    scores = {number: record["scores_of_clips"][str(number)] for number in record["kept"]}
    groups = best_and_worst({number: figures["ssim"] for number, figures in scores.items()})
    sheets = {
        group: clips_sheet(run, {number: scores[number] for number in members}, record["clips"]["observe"])
        for group, members in zip(("best", "worst"), groups, strict=True)
        if members
    }
    return f"{record['model']}", np.array(record["rows"][0]["ages"]), sheets
