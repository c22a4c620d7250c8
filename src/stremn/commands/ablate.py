"""``stremn ablate``: the paper's ablations, tables 1 and 2."""

import typer

from stremn.commands import options
from stremn.commands.interrupts import interruptible
from stremn.commands.tables import Asked, run_table

__all__ = ["ablate", "policies", "slots"]

ablate = typer.Typer(
    name="ablate",
    no_args_is_help=True,
    help="Compare memories, as tables 1 and 2 of the paper do, with one set of weights.",
)


def policies(
    root: options.Root,
    out: options.TableFolder,
    split: options.Split = None,
    sequences: options.Sequences = None,
    long: options.Long = 0,
    seeds: options.Seeds = 3,
    model: options.Model = "stremn-lite",
    slots: options.Slots = None,
    candidate_every: options.CandidateEvery = None,
    size: options.Size = None,
    postprocess: options.PostProcess = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Table 1: which template is replaced. Rules A to F, the learned choice, and growing memory."""
    asked = Asked(
        *(root, out, split, sequences, long, seeds, model),
        *(None, slots, candidate_every, size, postprocess, device, precision),
    )
    run_table(1, asked)


def slots(
    root: options.Root,
    out: options.TableFolder,
    split: options.Split = None,
    sequences: options.Sequences = None,
    long: options.Long = 0,
    seeds: options.Seeds = 3,
    model: options.Model = "stremn-lite",
    policy: options.Policy = None,
    candidate_every: options.CandidateEvery = None,
    size: options.Size = None,
    postprocess: options.PostProcess = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
) -> None:
    """Table 2: how many slots there are, K = 3 to 7."""
    asked = Asked(
        *(root, out, split, sequences, long, seeds, model),
        *(policy, None, candidate_every, size, postprocess, device, precision),
    )
    run_table(2, asked)


for command in (policies, slots):
    ablate.command()(interruptible(command))
