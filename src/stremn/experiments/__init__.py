"""The paper's tables as runs: many sessions or models over one data set, compared and kept."""

from stremn.experiments.clips import TestClips, Wanted, open_clips
from stremn.experiments.forecasts import Forecast, ForecastSetting, ForecastTrial, run_forecasts
from stremn.experiments.rows import Row, Trial, table_rows
from stremn.experiments.runs import run_trials
from stremn.experiments.store import Result, ResultStore
from stremn.experiments.summary import Line, summarise

__all__ = [
    "Forecast",
    "ForecastSetting",
    "ForecastTrial",
    "Line",
    "Result",
    "ResultStore",
    "Row",
    "TestClips",
    "Trial",
    "Wanted",
    "open_clips",
    "run_forecasts",
    "run_trials",
    "summarise",
    "table_rows",
]
