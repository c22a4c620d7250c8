"""One engine for the tables of both tasks: trials over items, and the rows and figures that come of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import numpy as np
from torch import nn

from stremn import __version__
from stremn.files.tensors import tensors_digest
from stremn.memory import POLICIES
from stremn.models import ModelConfig
from stremn.runtime import Runtime
from stremn.sessions.settings import Settings
from stremn.tables.paper import TABLES
from stremn.tables.store import AnyScore, Result, ResultStore, key_of
from stremn.tables.trained import Training

__all__ = [
    "GROWING",
    "UNREAD",
    "Item",
    "Line",
    "Row",
    "Trial",
    "base_trial",
    "frames_to_run",
    "named_rows",
    "policy_rows",
    "run",
    "seeded",
    "slot_rows",
    "summarise",
    "weights_digest",
]

GROWING = "growing memory"
"""The row of the memory without bound, STM's."""

UNREAD = "readout set to zero"
"""The row of a prediction model that sees nothing of its memory."""

AnySettings = TypeVar("AnySettings", bound=Settings)


class Item(Protocol):
    """What trials are run on: a sequence, or a part of the clips."""

    @property
    def name(self) -> str:
        """As people know it."""

    @property
    def frames(self) -> int:
        """How many frames a trial makes of it."""

    @property
    def facts(self) -> dict[str, Any]:
        """What tells it apart from all others, as JSON values."""


@dataclass(frozen=True)
class Trial(Generic[AnySettings]):
    """A model, by the digest of its weights, with all settings of its session (:func:`base_trial`).

    Without weights it is the baseline of that name (:data:`stremn.tables.baselines.BASELINES`).
    """

    weights: str
    settings: AnySettings
    baseline: str = ""

    @property
    def draws(self) -> bool:
        """Whether the policy draws random numbers."""
        return self.settings.policy is not None and POLICIES[self.settings.policy].draws

    def changed(self, **changes: Any) -> Self:
        """The same trial with some of its settings replaced."""
        return replace(self, settings=self.settings.changed(**changes))

    def key(self, item: Item) -> str:
        """Of the trial's result on an item; it depends on the version of the package too."""
        facts = {"weights": self.weights, "baseline": self.baseline, "settings": self.settings.to_dict()}
        return key_of(facts | {"item": item.facts, "version": __version__})


def base_trial(model: nn.Module, settings: AnySettings) -> Trial[AnySettings]:
    """A trial of a model, with nothing left open that a result depends on.

    Raises:
        StremnError: on settings that cannot be, or a device that is not there.
    """
    settings = settings.resolved(cast(ModelConfig, model.config))
    runtime = Runtime.choose(settings.device, settings.precision)
    settings = replace(settings, device=str(runtime.device), precision=runtime.precision)
    return Trial(weights_digest(model), settings)


def weights_digest(model: nn.Module) -> str:
    """A digest of a model's config and weights."""
    return tensors_digest(model.state_dict(), cast(ModelConfig, model.config).to_json())


AnyItem = TypeVar("AnyItem", bound=Item)

Finished = tuple[Trial[AnySettings], Result[AnyScore]]

RunOne = Callable[[AnyItem, Sequence[Trial[AnySettings]]], Iterable[Finished[AnySettings, AnyScore]]]
"""Runs trials on one item and gives the result of each as soon as there is one."""


def run(
    trials: Iterable[Trial[AnySettings]],
    items: Iterable[AnyItem],
    store: ResultStore[AnyScore],
    run_one: RunOne[AnyItem, AnySettings, AnyScore],
) -> dict[Trial[AnySettings], list[Result[AnyScore]]]:
    """Results of every trial on every item, in the order of the items; what the store has is not run again.

    Args:
        trials: each is run once, however often it is named.
        items: the data.
        store: where results are found and kept.
        run_one: called for every item with the trials that lack it, if any does.

    Raises:
        StremnError: if a file cannot be read or written, or an item cannot be scored.
    """
    results: dict[Trial[AnySettings], list[Result[AnyScore]]] = {trial: [] for trial in trials}
    for item in items:
        keys = {trial: trial.key(item) for trial in results}
        missing = [trial for trial, key in keys.items() if store.find(key) is None]
        for trial, result in run_one(item, missing) if missing else ():
            store.add(keys[trial], result)
        for trial, key in keys.items():
            found = store.find(key)
            assert found is not None
            results[trial].append(found)
    return results


def frames_to_run(
    trials: Iterable[Trial[AnySettings]], items: Iterable[Item], store: ResultStore[AnyScore]
) -> int:
    """How many frames :func:`run` will make, those of each trial counted on their own."""
    trials = list(dict.fromkeys(trials))
    return sum(item.frames for item in items for trial in trials if store.find(trial.key(item)) is None)


@dataclass(frozen=True)
class Row(Generic[AnySettings]):
    """A row of a table: one trial, or one for each seed where random numbers are drawn.

    Attributes:
        name: as printed.
        trials: at least one.
        paper: the paper's figures in our units, by our names; ``None`` where it prints none.
        file: of the weights, as it was given, where rows have weights of their own.
        training: how these were trained.
    """

    name: str
    trials: tuple[Trial[AnySettings], ...]
    paper: Mapping[str, float | None] | None = None
    file: str | None = None
    training: Training | None = None


@dataclass(frozen=True)
class Line(Generic[AnyScore]):
    """A row with the results of each seed, item by item, and its figures."""

    row: Row[Any]
    results: tuple[tuple[Result[AnyScore], ...], ...]

    @property
    def name(self) -> str:
        """As printed."""
        return self.row.name

    @cached_property
    def scores(self) -> tuple[AnyScore, ...]:
        """Over all items, one for each seed; none where there is no truth."""
        scores = [[result.score for result in run if result.score is not None] for run in self.results]
        return tuple(type(run[0]).merged(run) for run in scores if run)

    @cached_property
    def ages(self) -> np.ndarray:
        """d^K[t] of Sec. 4.3: share of chosen templates that were ``t`` frames old, sum 1 or all 0."""
        every = [result.ages for run in self.results for result in run]
        ages = np.array([sum(counts) for counts in zip_longest(*every, fillvalue=0)], float)
        return ages / max(1, ages.sum())

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures there are."""
        return tuple(self.scores[0].means) if self.scores else ()

    def mean(self, figure: str) -> float:
        """Mean of a figure over the seeds."""
        return float(np.mean([score.means[figure] for score in self.scores]))

    def spread(self, figure: str) -> tuple[float, float]:
        """Smallest and largest value of a figure over the seeds; equal where there is one seed."""
        values = [score.means[figure] for score in self.scores]
        return min(values), max(values)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the paper's figures are in our units, J and F as fractions of 1."""
        row = self.row
        return {
            "name": row.name,
            "file": row.file,
            "weights_sha256": row.trials[0].weights or None,
            "training": row.training and row.training.to_dict(),
            "paper": row.paper and dict(row.paper),
            "means": {figure: self.mean(figure) for figure in self.figures},
            "min_max": {figure: self.spread(figure) for figure in self.figures},
            "ages": [round(share, 6) for share in self.ages.tolist()],
            "runs": [
                {
                    "settings": results[0].settings,
                    "score": score and score.to_dict(),
                    "items": {r.item: {"frames": r.frames} | r.details for r in results},
                }
                for score, results in zip_longest(self.scores, self.results)
            ],
        }


def summarise(
    rows: Iterable[Row[AnySettings]],
    results: Mapping[Trial[AnySettings], Sequence[Result[AnyScore]]],
) -> list[Line[AnyScore]]:
    """A line for each row, of what :func:`run` gave for its trials."""
    return [Line(row, tuple(tuple(results[trial]) for trial in row.trials)) for row in rows]


def policy_rows(base: Trial[AnySettings], seeds: int, **growing: Any) -> list[Row[AnySettings]]:
    """A row for each policy of constant memory, the paper's order first, and one for growing memory.

    Args:
        base: what the rows have in common.
        seeds: how many runs a policy that draws random numbers gets.
        **growing: settings of the growing memory alone.
    """
    printed = TABLES[1].rows
    names = dict.fromkeys([*printed, *(name for name, policy in POLICIES.items() if policy.bounded)])
    trials = {name: base.changed(policy=name) for name in names}
    trials[GROWING] = base.changed(policy="every-nth", **growing)
    rows = []
    for name, trial in trials.items():
        paper = printed.get(name)
        figures = None if paper is None else paper.fractions()
        rows.append(Row((paper and paper.label) or name, seeded(trial, seeds), figures))
    return rows


def slot_rows(base: Trial[AnySettings], seeds: int, counts: Iterable[int]) -> list[Row[AnySettings]]:
    """A row for each number of slots."""
    trials = {f"K = {count}": base.changed(slots=count) for count in counts}
    return named_rows(2, trials, seeds)


def named_rows(number: int, trials: Mapping[str, Trial[AnySettings]], seeds: int) -> list[Row[AnySettings]]:
    """Rows by name, beside those of the paper's table that are called so."""
    printed = {name: figures.fractions() for name, figures in TABLES[number].rows.items()}
    return [Row(name, seeded(trial, seeds), printed.get(name)) for name, trial in trials.items()]


def seeded(trial: Trial[AnySettings], seeds: int) -> tuple[Trial[AnySettings], ...]:
    """The trial, or one for each seed if its policy draws random numbers."""
    return tuple(trial.changed(seed=seed) for seed in range(seeds)) if trial.draws else (trial,)
