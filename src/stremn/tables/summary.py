"""Results of a table's rows brought to figures: means over objects, spread over seeds, ages of templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from stremn.metrics import Score, ScoreTable
from stremn.tables.paper import Figures
from stremn.tables.rows import Row, Trial
from stremn.tables.store import Result

__all__ = ["Line", "summarise"]


@dataclass(frozen=True)
class Line:
    """A row of a table with its figures.

    Attributes:
        name: as printed.
        scores: over all objects of all sequences, one for each seed.
        ages: share of chosen templates that were ``t`` frames old, d^K[t] of Sec. 4.3, sum 1 or all 0.
        paper: the paper's figures in percent.
        results: of each seed, sequence by sequence.
    """

    name: str
    scores: tuple[Score, ...]
    ages: np.ndarray
    paper: Figures | None
    results: tuple[tuple[Result, ...], ...]

    def mean(self, figure: str) -> float:
        """Mean over the seeds of ``j_mean``, ``f_mean`` or ``j_and_f``, in [0, 1]."""
        return float(np.mean([getattr(score, figure) for score in self.scores]))

    def spread(self, figure: str = "j_and_f") -> tuple[float, float]:
        """Smallest and largest value over the seeds, in [0, 1]; equal where there is one seed."""
        values = [float(getattr(score, figure)) for score in self.scores]
        return min(values), max(values)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; scores are fractions of 1, the paper's too."""
        printed = self.paper and {
            "j_mean": _fraction(self.paper.j),
            "f_mean": _fraction(self.paper.f),
            "j_and_f": _fraction(self.paper.j_and_f),
        }
        return {
            "name": self.name,
            "paper": printed,
            "ours": {figure: self.mean(figure) for figure in ("j_mean", "f_mean", "j_and_f")},
            "j_and_f_min_max": self.spread(),
            "ages": [round(share, 6) for share in self.ages.tolist()],
            "runs": [
                {
                    "settings": results[0].settings,
                    "overall": score.values(),
                    "sequences": {r.sequence: _sequence(r) for r in results},
                }
                for score, results in zip(self.scores, self.results, strict=True)
            ],
        }


def summarise(rows: Sequence[Row], results: dict[Trial, list[Result]]) -> list[Line]:
    """A line for each row.

    Args:
        rows: of the table.
        results: of every trial of the rows, as :func:`~stremn.tables.segmentation.run_trials` gives them.
    """
    return [_line(row, [results[trial] for trial in row.trials]) for row in rows]


def _line(row: Row, results: list[list[Result]]) -> Line:
    ages = np.zeros(max((len(r.ages) for run in results for r in run), default=0))
    for result in chain.from_iterable(results):
        ages[: len(result.ages)] += result.ages
    scores = tuple(ScoreTable(tuple(chain.from_iterable(r.scores for r in run))).overall for run in results)
    return Line(row.name, scores, ages / max(1, ages.sum()), row.paper, tuple(map(tuple, results)))


def _sequence(result: Result) -> dict[str, Any]:
    score = ScoreTable(result.scores).overall
    return {
        "frames": result.frames,
        "j_mean": score.j_mean,
        "f_mean": score.f_mean,
        "j_and_f": score.j_and_f,
        "frames_in_memory_at_the_end": result.held,
    }


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 4)
