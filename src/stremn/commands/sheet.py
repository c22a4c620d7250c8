"""How the tables of both tasks are run, printed, written and drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stremn.commands.console import FrameProgress, new_table, say, show

if TYPE_CHECKING:
    from rich.table import Table

    from stremn.models import Predictor
    from stremn.tables import Line, ResultStore, Row, TestClips
    from stremn.tables.prediction import ClipsPart, OnClip

__all__ = [
    "MASK_FIGURES",
    "SEEN_FIGURES",
    "Sheet",
    "axis",
    "clips_report",
    "counted",
    "finish",
    "notes_on",
    "prediction_facts",
    "run_clips",
    "run_rows",
    "say_done",
    "shown",
]

MASK_FIGURES = {"j_mean": "J", "f_mean": "F", "j_and_f": "J&F"}
"""Headings of the figures of segmentation that are printed."""

SEEN_FIGURES = {
    "j_seen": "J seen",
    "f_seen": "F seen",
    "j_unseen": "J unseen",
    "f_unseen": "F unseen",
    "g": "G",
}
"""The same of YouTube-VOS."""

PERCENT = MASK_FIGURES | SEEN_FIGURES

USUAL = ("mse", "mae", "psnr", "ssim", "lpips")
REAL = ("mse_pixel", "mae_pixel", "psnr", "ssim", "lpips")
COLUMNS = {
    "human36m": ("mse", "mae", "ssim"),
    "kth": ("psnr", "ssim", "lpips", "psnr_predrnn", "ssim_predrnn", "lpips_predrnn", "ssim_openstl"),
    "videos": REAL,
    "memory": REAL,
}
"""Figures that are printed, by kind of data, as far as there are; the others are in the JSON file."""

UNITS = {"human36m": {"mse": 10, "mae": 100}}
"""What figures are divided by to be printed, by kind of data, as the paper does (Table 5)."""

FORMATS = {"mse": ".1f", "mae": ".1f", "mse_pixel": ".5f", "mae_pixel": ".5f", "psnr": ".2f"}


def run_rows(
    label: str,
    rows: Sequence[Row[Any]],
    items: Sequence[Any],
    store: ResultStore[Any],
    make: Callable[[Callable[[int], None]], Any],
) -> tuple[list[Line[Any]], dict[str, Any]]:
    """Run the rows of a table, with a progress bar.

    Args:
        label: of the bar.
        rows: to be run.
        items: what on.
        store: where results are kept and found again.
        make: what runs trials on one item, from a function that is to be told of frames.

    Returns:
        A line for each row, and what the JSON file says of this run.
    """
    from stremn.provenance import provenance, versions
    from stremn.tables import frames_to_run, run, summarise

    trials = [trial for row in rows for trial in row.trials]
    with FrameProgress(label, frames_to_run(trials, items, store)) as progress:
        results = run(trials, items, store, make(progress.advance))
    facts = {"frames_of_this_run": progress.count, "seconds_of_this_run": round(progress.seconds, 1)}
    return summarise(rows, results), facts | {"versions": versions()} | provenance()


def run_clips(
    label: str,
    rows: Sequence[Row[Any]],
    parts: Sequence[ClipsPart],
    models: Mapping[str, Predictor],
    results: Path | None = None,
    on_clip: OnClip = lambda *clip: None,
) -> tuple[list[Line[Any]], dict[str, Any]]:
    """The same for rows of prediction: models by the digest of their weights, results in a file if in any."""
    from stremn.metrics.prediction.scores import PredictionScores
    from stremn.tables import PredictClips, ResultStore

    store = ResultStore(results, PredictionScores)
    return run_rows(label, rows, parts, store, partial(PredictClips, models, on_clip=on_clip))


@dataclass(frozen=True)
class Sheet:
    """A finished table.

    Attributes:
        title: of the table and its pictures.
        lines: its rows.
        columns: headings of the figures that are printed, by their names.
        main: the figure whose spread is printed and that is drawn.
        facts: what a reader must know of the figures, each in a sentence.
        units: what figures are divided by where they are printed, by their names.
    """

    title: str
    lines: Sequence[Line[Any]]
    columns: Mapping[str, str]
    main: str
    facts: Mapping[str, str]
    units: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_clips(cls, title: str, test: TestClips, lines: Sequence[Line[Any]], facts: dict[str, str]) -> Self:
        """A table of prediction, with the figures by which its kind of data is measured."""
        wanted = COLUMNS.get(test.kind, USUAL)
        units = UNITS.get(test.kind, {})
        columns = {
            name: heading(name) + (f"/{units[name]}" if name in units else "")
            for name in wanted
            if name in lines[0].figures
        }
        main = "psnr" if test.kind in ("kth", "memory", "videos") else "mse"
        return cls(title, lines, columns, main, prediction_facts(test, lines, columns) | facts, units)

    def show(self, *beside: Table, trained: bool = False) -> None:
        """Print it, then other tables beside it, then the facts."""
        lines = self.lines
        drawn = any(len(line.scores) > 1 for line in lines)
        papers = [line.row.paper or {} for line in lines]
        printed = [name for name in self.columns if any(p.get(name) is not None for p in papers)]
        headings = [
            *self.columns.values(),
            *([f"min-max {self.columns[self.main]}"] if drawn else []),
            *(("" if index else "paper ") + self.columns[name] for index, name in enumerate(printed)),
        ]
        view = new_table([""], headings, title=self.title)
        if trained:
            view.add_column("trained", no_wrap=True)
        for line, paper in zip(lines, papers, strict=True):
            known = "" if line.row.file is None else str(line.row.training or "not known")
            spread = ""
            if len(line.scores) > 1 and self.main in line.figures:
                spread = "-".join(self._shown(self.main, value) for value in line.spread(self.main))
            view.add_row(
                line.name,
                *(
                    self._shown(name, line.mean(name)) if name in line.figures else "-"
                    for name in self.columns
                ),
                *([spread] if drawn else []),
                *(self._printed(name, paper.get(name)) for name in printed),
                *([known] if trained else []),
            )
        show(view, *beside)
        for name, text in self.facts.items():
            say(f"{name}: {text}")

    def _shown(self, figure: str, value: float) -> str:
        return f"{value / self.units[figure]:.2f}" if figure in self.units else shown(figure, value)

    def _printed(self, figure: str, value: float | None) -> str:
        """The paper's, with the digits that it has there."""
        if value is None or figure in PERCENT:
            return "-" if value is None else shown(figure, value)
        return f"{value / self.units.get(figure, 1):g}"

    def write(self, path: Path, report: Mapping[str, Any]) -> None:
        """Write it as JSON, ``path`` without its suffix."""
        from stremn.files import write_json

        rows = {"title": self.title, "facts": self.facts, "rows": [line.to_dict() for line in self.lines]}
        write_json(path.with_suffix(".json"), rows | dict(report))

    def draw(self, path: Path, paper: str | None = None) -> None:
        """Draw its main figure and the ages of templates, ``path`` without its suffix."""
        from stremn.tables.plots import Bar, plot_ages, plot_rows

        lines = [line for line in self.lines if line.row.trials[0].weights]
        unit = 100 if self.main in PERCENT else 1
        bars = []
        for line in lines:
            if self.main not in line.figures:
                continue
            low, high = line.spread(self.main)
            printed = (line.row.paper or {}).get(self.main)
            printed = None if printed is None else unit * printed
            bars.append(Bar(line.name, unit * line.mean(self.main), unit * low, unit * high, printed))
        picture = path.with_suffix(".png")
        if bars:
            ours = self.facts["data"]
            plot_rows(bars, picture, title=self.title, ours=ours, paper=paper, axis=axis(self.main))
        ages = {line.name: line.ages for line in lines}
        title = f"{self.title}: age of the chosen templates, $d^K[t]$"
        plot_ages(ages, path.with_name(f"{path.name}-ages.png"), title=title)


def shown(figure: str, value: float) -> str:
    """A figure as it is printed; J and F are in percent."""
    if figure in PERCENT:
        return f"{100 * value:.1f}"
    return format(value, FORMATS.get(figure, FORMATS.get(figure.partition("_")[0], ".4f")))


def heading(figure: str) -> str:
    """Of a figure's column."""
    from stremn.metrics.prediction.frames import FIGURES

    return PERCENT[figure] if figure in PERCENT else FIGURES[figure].label


def axis(figure: str) -> str:
    """What an axis of a figure says."""
    from stremn.metrics.prediction.frames import FIGURES

    if figure in PERCENT:
        return f"{heading(figure)} in percent"
    return f"{heading(figure)} ({'lower' if FIGURES[figure].lower_is_better else 'higher'} is better)"


def prediction_facts(test: TestClips, lines: Sequence[Line[Any]], figures: Iterable[str]) -> dict[str, str]:
    """What a reader must know of figures of prediction, each in a sentence."""
    from stremn.metrics.prediction.frames import CONVENTIONS, FIGURES
    from stremn.tables.baselines import COPY
    from stremn.tables.prediction import least_gain

    copied = next(line for line in lines if line.name == COPY)
    gains = (f"{line.name} {least_gain(line, copied):+.2f}" for line in lines if line is not copied)
    used = {FIGURES[figure].convention for figure in figures}
    return {
        "data": test.note,
        "figures": "MSE and MAE are sums over the pixels and channels of a frame unless they say per pixel "
        "(MSE/10 is a tenth of it, MAE/100 a hundredth); "
        "all are means over the frames ahead, of predictions rounded to 8 bits as a session gives them",
        "worst clip": f"PSNR against copying where it is least, in dB: {', '.join(gains)}",
    } | {name: text for name, text in CONVENTIONS.items() if name in used}


def clips_report(test: TestClips, lines: Sequence[Line[Any]]) -> dict[str, Any]:
    """What the JSON files say of the clips and the figures."""
    from stremn.metrics.prediction.frames import CONVENTIONS

    return {
        "clips": test.facts | {"count": len(test.numbers)},
        "figures": {name: heading(name) for name in lines[0].figures},
        "conventions": {name: CONVENTIONS[name] for name in test.protocol.conventions},
    }


def counted(number: int, name: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def notes_on(lines: Sequence[Line[Any]], seeds: int, growing: str) -> dict[str, str]:
    """What a reader must know of random rows, and of the one of growing memory, if there are any."""
    from stremn.tables.engine import GROWING

    notes = {}
    if any(len(line.scores) > 1 for line in lines):
        notes["spread"] = f"mean of {counted(seeds, 'seed')} where random; min-max: smallest and largest"
    if any(line.name == GROWING for line in lines):
        notes[GROWING] = growing
    return notes


def finish(
    sheet: Sheet, path: Path, report: dict[str, Any], paper: str | None = None, *, trained: bool = False
) -> None:
    """Print, write and draw a table, ``path`` without its suffix; ``paper`` says what the paper's is of."""
    sheet.show(trained=trained)
    sheet.write(path, report)
    sheet.draw(path, paper)
    say_done(report, path.parent)


def say_done(run: Mapping[str, Any], folder: Path) -> None:
    """Print what :func:`run_rows` did."""
    frames, seconds = run["frames_of_this_run"], run["seconds_of_this_run"]
    say(f"{frames} frames in {seconds:.0f} s, all rows counted; see {folder}")
