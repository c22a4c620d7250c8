"""The options of a table, whichever it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.errors import StremnError

__all__ = ["Asked"]

DEFAULT = "stremn-lite"


@dataclass(frozen=True)
class Asked:
    """The options of a table as they were given; see :mod:`stremn.commands.options`."""

    data: options.Data
    out: options.TableFolder
    split: options.Split = None
    sequences: options.Sequences = None
    long: options.Long = 0
    seeds: options.Seeds = 3
    models: options.Models = None
    trained: Annotated[
        list[str] | None,
        typer.Option(help="label=TEXT for the column that says how a row of table 5 was trained."),
    ] = None
    policy: options.Policy = None
    slots: options.Slots = None
    candidate_every: options.CandidateEvery = None
    size: options.Size = None
    postprocess: options.PostProcess = False
    device: options.Device = "auto"
    precision: options.Precision = "auto"

    @property
    def root(self) -> Path:
        """The data set of segmentation; see :func:`stremn.commands.options.one_root`."""
        return options.one_root(self.data)

    @property
    def model(self) -> str:
        """The one set of weights of an ablation.

        Raises:
            StremnError: if several are given.
        """
        names = self.models or [DEFAULT]
        if len(names) > 1:
            raise StremnError(
                f"--model {names[1]} is one too many: one set of weights serves every row of this table"
            )
        return names[0]
