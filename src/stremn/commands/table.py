"""``stremn table``: a table of the paper by its number."""

from typing import Annotated

import typer

from stremn.commands.asked import Asked
from stremn.commands.bundles import bundled
from stremn.commands.forecast_options import ForecastOptions
from stremn.commands.tables import run_table

__all__ = ["table"]


@bundled
def table(
    number: Annotated[
        int, typer.Argument(help="1 (policies), 2 (slots), 3 (ways of testing) or 5 (prediction).")
    ],
    asked: Asked,
    forecast: ForecastOptions,
) -> None:
    """A table of the paper beside ours. 1 and 2 are the ablations of 'stremn ablate'; 5 compares models."""
    run_table(number, asked, forecast)
