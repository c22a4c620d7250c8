"""``stremn ablate``: the paper's ablations, tables 1 and 2, of either task."""

import typer

from stremn.commands.asked import Asked
from stremn.commands.bundles import bundled
from stremn.commands.forecast_options import ForecastOptions
from stremn.commands.tables import run_table

__all__ = ["ablate", "policies", "slots"]

ablate = typer.Typer(
    name="ablate",
    no_args_is_help=True,
    help="Compare memories, as tables 1 and 2 of the paper do, with one set of weights.",
)


def policies(asked: Asked, forecast: ForecastOptions) -> None:
    """Table 1: which template is replaced. Rules A to F, the learned choice, and growing memory."""
    run_table(1, asked, forecast)


def slots(asked: Asked, forecast: ForecastOptions) -> None:
    """Table 2: how many slots there are, K = 3 to 7; of prediction, K = 1 to 7."""
    run_table(2, asked, forecast)


for command, varied in ((policies, "policy"), (slots, "slots")):
    ablate.command()(bundled(command, without=(varied, "trained")))
