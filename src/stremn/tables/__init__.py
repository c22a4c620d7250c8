"""The paper's tables as runs: many sessions or models over one data set, compared and kept."""

from stremn.tables.clips import TestClips, Wanted, open_clips
from stremn.tables.prediction import Forecast, ForecastSetting, ForecastTrial, run_forecasts
from stremn.tables.rows import Row, Trial, table_rows
from stremn.tables.segmentation import run_trials
from stremn.tables.store import Result, ResultStore
from stremn.tables.summary import Line, summarise

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
