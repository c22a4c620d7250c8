"""``stremn table`` and ``stremn ablate``: tables of the paper beside ours, of either task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.errors import StremnError

__all__ = ["ablate", "policies", "slots", "table"]


@dataclass(frozen=True, kw_only=True)
class TableOptions(options.DataOptions):
    """The options of a table beside those of its sessions."""

    out: Annotated[
        Path, typer.Option(help="Folder for table, plots and results; goes on with what is in it.")
    ]
    long: Annotated[
        int, typer.Option(min=0, help="Play each sequence forth and back until so many frames were shown.")
    ] = 0
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each policy that draws random numbers.")] = 3
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Name of a model with weights, or a weights file; label=FILE for each row of table 5, "
            "and of 1 and 2 where each has its own.",
        ),
    ] = None
    trained: Annotated[
        list[str] | None,
        typer.Option(help="label=TEXT for the column that says how a row of table 5 was trained."),
    ] = None

    @property
    def results(self) -> Path:
        """The file of finished runs."""
        return self.out / "results.jsonl"

    @property
    def model(self) -> str:
        """The one set of weights of an ablation.

        Raises:
            StremnError: if several are given.
        """
        names = self.models or [options.SEGMENTER]
        if len(names) > 1:
            raise StremnError(
                f"--model {names[1]} is one too many: one set of weights serves every row of this table"
            )
        return names[0]

    @property
    def own(self) -> dict[str, str]:
        """The file of weights of each row by its label; empty if one set serves all."""
        labels = any("=" in text and not Path(text).exists() for text in self.models or ())
        return self.labelled("model") if labels else {}

    def labelled(self, option: str) -> dict[str, str]:
        """``label=value`` by label; a value alone, which only a model can be, is its own label.

        Args:
            option: ``model`` or ``trained``.

        Raises:
            StremnError: naming a text that is neither, or a label that is given twice.
        """
        found: dict[str, str] = {}
        for text in (self.models if option == "model" else self.trained) or ():
            label, equals, value = text.partition("=")
            if option == "model" and (not equals or Path(text).exists()):
                label = value = text
            if not label or not value:
                raise StremnError(f"--{option} {text} is not understood: give label=TEXT")
            if label in found:
                raise StremnError(f"--{option} gives '{label}' twice: give each row a label of its own")
            found[label] = value
        return found


VARIED = {1: "policy", 2: "slots", 3: "postprocess"}
"""Options that would set what the rows of a table differ in."""

NOT_OF_TABLES = ("model", "seed", "multi_scale")
"""Options of a session that no table has: its rows decide."""

ablate = typer.Typer(
    name="ablate",
    no_args_is_help=True,
    help="Compare memories, as tables 1 and 2 of the paper do, with one set of weights.",
)


@partial(bundled, without=NOT_OF_TABLES)
def table(
    number: Annotated[
        int,
        typer.Argument(
            help="1 (policies), 2 (slots), 3 (testing), 4 (YouTube-VOS), 5 (prediction) or 6 (fusion)."
        ),
    ],
    asked: TableOptions,
    session: options.SessionOptions,
    clips: options.ClipOptions,
) -> None:
    """A table of the paper beside ours. 1 and 2 are the ablations of 'stremn ablate'; 5 compares models."""
    _run(number, asked, session, clips)


@ablate.command()
@partial(bundled, without=(*NOT_OF_TABLES, "policy", "trained"))
def policies(asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Table 1: which template is replaced. Rules A to F, the learned choice, and growing memory."""
    _run(1, asked, session, clips)


@ablate.command()
@partial(bundled, without=(*NOT_OF_TABLES, "slots", "trained"))
def slots(asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Table 2: how many slots there are, K = 3 to 7; of prediction, K = 1 to 7."""
    _run(2, asked, session, clips)


def _run(
    number: int, asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions
) -> None:
    """Print a table and write it to the output folder, with what is there already not run again.

    With a prediction model 1 and 2 are ablations of prediction.

    Raises:
        StremnError: on options, data or weights that cannot be used, before any run where possible.
    """
    if number not in range(1, 7):
        raise StremnError(
            f"there is no table {number} here: choose 1 (policies), 2 (slots), 3 (testing), "
            "4 (YouTube-VOS), 5 (prediction) or 6 (fusion)"
        )
    if number != 5:
        if varied := VARIED.get(number):
            given = getattr(session, varied, None) is not None
            options.refuse(f"table {number}, whose rows differ in it", **{varied: given})
        options.refuse(f"table {number}", trained=asked.trained)
    from stremn.commands.prediction_tables import prediction_ablation, prediction_table
    from stremn.commands.segmentation_tables import segmentation_table

    if number == 5:
        prediction_table(asked, session, clips)
        return
    if number in (1, 2) and asked.own:
        if option := clips.given():
            raise StremnError(f"{option} cannot be given with weights for each row: they are of segmentation")
        segmentation_table(number, asked, session)
        return
    predictor = options.predictor_of(asked.model, clips)
    if predictor is None:
        segmentation_table(number, asked, session)
    elif number in (1, 2):
        prediction_ablation(number, predictor, asked, session, clips)
    else:
        raise StremnError(
            f"table {number} is of segmentation, and '{asked.model}' predicts: give a segmentation model"
        )
