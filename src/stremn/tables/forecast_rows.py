"""Rows of the tables of prediction, and their figures: means over the clips, spread over seeds, ages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stremn.metrics.prediction.scores import PredictionScores
from stremn.tables.paper import TABLES
from stremn.tables.prediction import COPY_LAST, Forecast, ForecastTrial
from stremn.tables.rows import GROWING, bounded_policies, seeded
from stremn.tables.trained import Training

__all__ = ["ForecastLine", "ForecastRow", "copy_row", "policy_rows", "slot_rows", "summarise_forecasts"]

SLOT_COUNTS = range(1, 8)


@dataclass(frozen=True)
class ForecastRow:
    """A row of a table: one trial, or one for each seed where random numbers are drawn.

    Attributes:
        name: as printed.
        trials: at least one.
        file: of the weights, as it was given.
        training: what is known of how they were trained.
    """

    name: str
    trials: tuple[ForecastTrial, ...]
    file: str | None = None
    training: Training | None = None


@dataclass(frozen=True)
class ForecastLine:
    """A row with its figures.

    Attributes:
        row: see :class:`ForecastRow`.
        scores: over all clips, one for each seed.
        ages: share of the templates that predictions were read from that were ``t`` frames old, d^K[t] of
            Sec. 4.3, sum 1 or all 0.
    """

    row: ForecastRow
    scores: tuple[PredictionScores, ...]
    ages: np.ndarray

    @property
    def name(self) -> str:
        """As printed."""
        return self.row.name

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures there are, of :data:`stremn.metrics.prediction.frames.FIGURES`."""
        return tuple(self.scores[0].curves)

    def mean(self, figure: str) -> float:
        """Over the horizon and the seeds."""
        return float(np.mean([score[figure] for score in self.scores]))

    def spread(self, figure: str) -> tuple[float, float]:
        """Smallest and largest value over the seeds; equal where there is one seed."""
        values = [score[figure] for score in self.scores]
        return min(values), max(values)

    def curve(self, figure: str) -> tuple[float, ...]:
        """Mean over the seeds for 1, 2, …, N frames ahead."""
        return tuple(np.mean([score.curves[figure] for score in self.scores], axis=0).tolist())

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        known = self.row.training
        trial = self.row.trials[0]
        return {
            "name": self.name,
            "file": self.row.file,
            "weights_sha256": None if trial.weights == COPY_LAST else trial.weights,
            "training": None if known is None else known.to_dict(),
            "means": {figure: self.mean(figure) for figure in self.figures},
            "curves": {figure: list(self.curve(figure)) for figure in self.figures},
            "mse_min_max": self.spread("mse"),
            "ages": [round(share, 6) for share in self.ages.tolist()],
            "runs": [
                {"settings": t.settings(), "means": s.means}
                for t, s in zip(self.row.trials, self.scores, strict=True)
            ],
        }


def copy_row() -> ForecastRow:
    """The last observed frame, again and again: what any model must beat."""
    return ForecastRow("copy last frame", (ForecastTrial(COPY_LAST),))


def policy_rows(base: ForecastTrial, seeds: int) -> list[ForecastRow]:
    """A row for each policy, and growing memory, to which every frame is added."""
    trials = {name: replace(base, policy=name) for name in bounded_policies()}
    trials[GROWING] = replace(base, policy="every-nth")
    labels = TABLES[1].labels
    return [ForecastRow(labels.get(name, name), seeded(trial, seeds)) for name, trial in trials.items()]


def slot_rows(base: ForecastTrial, seeds: int) -> list[ForecastRow]:
    """A row for each K from 1 to 7."""
    return [ForecastRow(f"K = {count}", seeded(replace(base, slots=count), seeds)) for count in SLOT_COUNTS]


def summarise_forecasts(
    rows: Iterable[ForecastRow], results: Mapping[ForecastTrial, Sequence[Forecast]]
) -> list[ForecastLine]:
    """A line for each row.

    Args:
        rows: of the table.
        results: of every trial of the rows, as :func:`~stremn.tables.prediction.run_forecasts` gives
            them.
    """
    return [_line(row, [results[trial] for trial in row.trials]) for row in rows]


def _line(row: ForecastRow, results: list[Sequence[Forecast]]) -> ForecastLine:
    parts = [part for run in results for part in run]
    ages = np.zeros(max((len(part.ages) for part in parts), default=0))
    for part in parts:
        ages[: len(part.ages)] += part.ages
    return ForecastLine(row, tuple(map(_whole, results)), ages / max(1, ages.sum()))


def _whole(parts: Sequence[Forecast]) -> PredictionScores:
    """Means over all clips from those over the parts."""
    clips = [part.clips for part in parts]
    curves = {
        name: tuple(np.average([part.curves[name] for part in parts], axis=0, weights=clips).tolist())
        for name in parts[0].curves
    }
    return PredictionScores(sum(clips), curves)
