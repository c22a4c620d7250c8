"""``stremn table``: a table of the paper by its number."""

from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.tables import Asked, run_table

__all__ = ["table"]


def table(
    number: Annotated[int, typer.Argument(help="1 (policies), 2 (slots) or 3 (ways of testing).")],
    root: options.Root,
    out: options.TableFolder,
    split: options.Split = None,
    sequences: options.Sequences = None,
    long: options.Long = 0,
    seeds: options.Seeds = 3,
    model: options.Model = "stremn-lite",
    policy: options.Policy = None,
    slots: options.Slots = None,
    candidate_every: options.CandidateEvery = None,
    size: options.Size = None,
    postprocess: options.PostProcess = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """A table of the paper beside ours. Table 3: single scale, multi-scale, growing memory."""
    asked = Asked(
        *(root, out, split, sequences, long, seeds, model),
        *(policy, slots, candidate_every, size, postprocess, device, precision),
    )
    run_table(number, asked)
