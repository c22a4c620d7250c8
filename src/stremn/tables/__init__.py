"""The paper's tables as runs: many sessions or models over one data set, compared and kept."""

from stremn.tables.clips import TestClips, Wanted, open_clips
from stremn.tables.engine import Line, Row, Trial, base_trial, frames_to_run, run, summarise
from stremn.tables.prediction import PredictClips, parts_of
from stremn.tables.segmentation import PlayedVideo, SegmentVideos, table_rows
from stremn.tables.store import Result, ResultStore

__all__ = [
    "Line",
    "PlayedVideo",
    "PredictClips",
    "Result",
    "ResultStore",
    "Row",
    "SegmentVideos",
    "TestClips",
    "Trial",
    "Wanted",
    "base_trial",
    "frames_to_run",
    "open_clips",
    "parts_of",
    "run",
    "summarise",
    "table_rows",
]
