"""Rows of the paper's tables 1-3 as settings of sessions."""

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.models import Segmenter
from stremn.sessions import MULTI_SCALE, ONE_VIEW, SegmentationSession, View
from stremn.tables.paper import TABLES, Figures

__all__ = ["GROWING", "GROWING_EVERY", "Row", "Trial", "bounded_policies", "seeded", "table_rows"]

GROWING = "growing memory"
"""The row of the memory without bound, STM's."""

GROWING_EVERY = 5
"""The growing memory takes a template every so many frames, as STM does (M9)."""

SLOT_COUNTS = (3, 4, 5, 6, 7)


class _Tried(Protocol):
    """A dataclass with a policy and a ``seed``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def policy(self) -> str | None: ...


Seedable = TypeVar("Seedable", bound=_Tried)


@dataclass(frozen=True)
class Trial:
    """All settings of a session that a result depends on."""

    policy: str
    slots: int
    candidate_every: int
    size: int
    views: tuple[View, ...] = ONE_VIEW
    postprocess: bool = False
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"views": [asdict(view) for view in self.views]}

    def open(self, model: Segmenter, device: str, precision: str) -> SegmentationSession:
        """A session with these settings."""
        return SegmentationSession(
            model,
            policy=self.policy,
            slots=self.slots,
            candidate_every=self.candidate_every,
            size=self.size,
            views=self.views,
            postprocess=self.postprocess,
            seed=self.seed,
            device=device,
            precision=precision,
        )


@dataclass(frozen=True)
class Row:
    """A row of a table: one trial, or one for each seed where random numbers are drawn.

    Attributes:
        name: as printed.
        trials: at least one.
        paper: the paper's figures.
    """

    name: str
    trials: tuple[Trial, ...]
    paper: Figures | None = None


def table_rows(number: int, base: Trial, seeds: int = 3) -> list[Row]:
    """The rows of a table.

    Args:
        number: of the table in the paper, 1 to 3.
        base: settings that the table does not vary.
        seeds: how many runs a policy that draws random numbers gets.

    Raises:
        StremnError: if there is no such table.
    """
    if number not in TABLES:
        raise StremnError(f"there is no table {number} here: choose 1 (policies), 2 (slots) or 3 (testing)")
    trials = {1: _policies, 2: _slots, 3: _testing}[number](base)
    table = TABLES[number]
    return [
        Row(table.labels.get(name, name), seeded(trial, seeds), table.rows.get(name))
        for name, trial in trials.items()
    ]


def bounded_policies() -> list[str]:
    """All policies of constant memory: a walk of the registry, the paper's order first."""
    names = [*TABLES[1].rows, *(name for name in POLICIES if name not in TABLES[1].rows)]
    return [name for name in names if POLICIES[name].bounded]


def seeded(trial: Seedable, seeds: int) -> tuple[Seedable, ...]:
    """The trial, or one for each seed if its policy draws random numbers."""
    draws = trial.policy is not None and POLICIES[trial.policy].draws
    return tuple(replace(trial, seed=seed) for seed in range(seeds)) if draws else (trial,)


def _policies(base: Trial) -> dict[str, Trial]:
    return {name: replace(base, policy=name) for name in bounded_policies()} | {GROWING: _growing(base)}


def _slots(base: Trial) -> dict[str, Trial]:
    return {f"K = {count}": replace(base, slots=count) for count in SLOT_COUNTS}


def _testing(base: Trial) -> dict[str, Trial]:
    """The paper has no rows without post-processing, which it always uses; we show what it is worth."""
    single = replace(base, views=ONE_VIEW, postprocess=False)
    multi = replace(single, views=MULTI_SCALE)
    return {
        "single scale": single,
        "single scale, post-processed": replace(single, postprocess=True),
        "multi-scale": multi,
        "multi-scale, post-processed": replace(multi, postprocess=True),
        GROWING: _growing(single),
    }


def _growing(base: Trial) -> Trial:
    return replace(base, policy="every-nth", candidate_every=GROWING_EVERY)
