"""The paper's tables as runs: many sessions over one data set, compared and kept. Knows sessions and data."""

from stremn.experiments.rows import Row, Trial, table_rows
from stremn.experiments.runs import run_trials
from stremn.experiments.store import Result, ResultStore
from stremn.experiments.summary import Line, summarise

__all__ = [
    "Line",
    "Result",
    "ResultStore",
    "Row",
    "Trial",
    "run_trials",
    "summarise",
    "table_rows",
]
