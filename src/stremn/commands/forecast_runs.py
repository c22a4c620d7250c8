"""Rows of prediction, run and shown: what evaluate, the ablations and table 5 have in common."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stremn.commands.console import FrameProgress
from stremn.metrics.prediction.frames import CONVENTIONS, FIGURES
from stremn.provenance import provenance, versions
from stremn.tables import ResultStore
from stremn.tables.forecast_rows import ForecastLine, ForecastRow, summarise_forecasts
from stremn.tables.prediction import Forecast, ForecastSetting, frames_to_predict, run_forecasts

__all__ = ["FILE", "SUMS", "Outcome", "convention_facts", "predict_rows", "shown"]

FILE = "forecasts.jsonl"
"""Results of a table of prediction."""

FORMATS = {"mse": ".1f", "mae": ".1f", "mse_pixel": ".5f", "mae_pixel": ".5f", "psnr": ".2f"}

SUMS = (
    "MSE and MAE are sums over the pixels and channels of a frame unless they say per pixel; all are means "
    "over the frames ahead"
)


@dataclass(frozen=True)
class Outcome:
    """Rows with their figures.

    Attributes:
        setting: in which they were run.
        lines: one for each row.
        frames: that were predicted now, and not found.
        seconds: that this took.
    """

    setting: ForecastSetting
    lines: list[ForecastLine]
    frames: int
    seconds: float

    def report(self) -> dict[str, Any]:
        """What every JSON file says, without the rows."""
        setting = self.setting
        return {
            "clips": setting.clips.facts | {"count": len(setting.clips.numbers)},
            "figures": {name: FIGURES[name].label for name in self.lines[0].figures},
            "conventions": {name: CONVENTIONS[name] for name in setting.clips.protocol.conventions},
            "device": setting.runtime.device.type,
            "precision": str(setting.runtime.dtype).removeprefix("torch."),
            "batch": setting.batch,
            "frames_of_this_run": self.frames,
            "seconds_of_this_run": round(self.seconds, 1),
            "versions": versions(),
        } | provenance()


def predict_rows(
    label: str, setting: ForecastSetting, rows: Sequence[ForecastRow], path: Path | None = None
) -> Outcome:
    """Run all rows, with a progress bar.

    Args:
        label: of the bar.
        setting: what they have in common.
        rows: to be run.
        path: where results are kept and found again; ``None`` keeps none.
    """
    trials = [trial for row in rows for trial in row.trials]
    store = ResultStore(path, Forecast)
    started = time.monotonic()
    with FrameProgress(label, frames_to_predict(setting, trials, store)) as progress:
        results = run_forecasts(setting, trials, store, progress.advance)
    seconds = time.monotonic() - started
    return Outcome(setting, summarise_forecasts(rows, results), progress.count, seconds)


def shown(figure: str, value: float) -> str:
    """A figure as it is printed."""
    return format(value, FORMATS.get(figure, FORMATS.get(figure.partition("_")[0], ".4f")))


def convention_facts(figures: Iterable[str]) -> dict[str, str]:
    """What the conventions of these figures are, by name."""
    used = {FIGURES[figure].convention for figure in figures}
    return {name: text for name, text in CONVENTIONS.items() if name in used}
