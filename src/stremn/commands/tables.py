"""Run a table of the paper: check, play, print, and write JSON and pictures."""

import time
from collections.abc import Sequence as Many
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from stremn.commands import options
from stremn.commands.progress import FrameProgress
from stremn.commands.score import PIPE_WIDTH
from stremn.commands.segment import versions
from stremn.data import Sequence, read_sequences
from stremn.errors import StremnError
from stremn.experiments import Line, ResultStore, Trial, run_trials, summarise, table_rows
from stremn.experiments.paper import TABLES
from stremn.experiments.rows import GROWING_EVERY
from stremn.experiments.runs import Setting, frames_to_play
from stremn.files import write_json
from stremn.files.atomic import write_error
from stremn.models import SegmenterConfig, from_pretrained
from stremn.plots import Bar, plot_ages, plot_rows
from stremn.provenance import provenance

__all__ = ["Asked", "run_table"]

VARIED = {1: ("policy",), 2: ("slots",), 3: ("postprocess",)}
"""Options that a table sets itself."""


@dataclass(frozen=True)
class Asked:
    """The options of a table as they were given; see ``stremn.commands.options``."""

    root: Path
    out: Path
    split: Path | None
    sequences: str | None
    long: int
    seeds: int
    model: str
    policy: str | None
    slots: int | None
    candidate_every: int | None
    size: int | None
    postprocess: bool
    device: str
    precision: str


def run_table(number: int, asked: Asked) -> None:
    """Print a table and write it to the output folder, with what is there already not run again.

    Args:
        number: 1 to 3.
        asked: everything else.

    Raises:
        StremnError: on options, data or weights that cannot be used, before any run where possible.
    """
    _check(number, asked)
    sequences = _chosen(read_sequences(asked.root, asked.split), asked.sequences)
    _make(asked.out)
    setting = Setting(from_pretrained(asked.model), asked.root, asked.long, asked.device, asked.precision)
    base = _base(asked, setting.model.config)
    rows = table_rows(number, base, asked.seeds)
    trials = list(dict.fromkeys(trial for row in rows for trial in row.trials))
    store = ResultStore(asked.out / "results.jsonl")
    started = time.monotonic()
    with FrameProgress(f"table {number}", frames_to_play(setting, trials, sequences, store)) as progress:
        results = run_trials(setting, trials, sequences, store, progress.advance)
    seconds = time.monotonic() - started
    lines = summarise(rows, results)
    facts = _facts(number, asked, base, lines)
    _print(number, lines, facts)
    _write(number, asked, setting, lines, facts, seconds)
    print(f"{progress.count} frames in {seconds:.0f} s, all rows counted; see {asked.out}")


def _check(number: int, asked: Asked) -> None:
    if number not in TABLES:
        raise StremnError(f"there is no table {number} here: choose 1 (policies), 2 (slots) or 3 (testing)")
    options.check_settings(asked.policy, asked.slots, asked.size, asked.candidate_every)
    for name in VARIED[number]:
        if getattr(asked, name):
            raise StremnError(
                f"--{name} cannot be given with table {number}, whose rows differ in it: leave it out"
            )


def _chosen(sequences: list[Sequence], names: str | None) -> list[Sequence]:
    if names is None:
        return sequences
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {sequence.name: sequence for sequence in sequences}
    for name in wanted:
        if name not in known:
            raise StremnError(f"--sequences names '{name}', which the data set or split does not have")
    if not wanted:
        raise StremnError("--sequences names none: give names separated by commas")
    return [known[name] for name in dict.fromkeys(wanted)]


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise StremnError(f"output {folder} is a file: give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def _base(asked: Asked, config: SegmenterConfig) -> Trial:
    """What was given, or else the model's default."""
    return Trial(
        policy=asked.policy or config.policy,
        slots=config.slots if asked.slots is None else asked.slots,
        candidate_every=config.candidate_every if asked.candidate_every is None else asked.candidate_every,
        size=config.size if asked.size is None else asked.size,
        postprocess=asked.postprocess,
    )


def _facts(number: int, asked: Asked, base: Trial, lines: Many[Line]) -> dict[str, str]:
    """What a reader must know of the figures, each in a sentence."""
    results = lines[0].results[0]
    objects = sum(len(result.scores) for result in results)
    frames = sum(result.frames for result in results)
    played = "each played once"
    if asked.long:
        played = f"each played forth and back until {asked.long} frames or more were shown"
    fixed = {
        "policy": base.policy,
        "K": base.slots,
        "candidates": _every(base.candidate_every),
    }
    fixed.pop({1: "policy", 2: "K"}.get(number, ""), None)
    size = f"shorter side {base.size}" if base.size else "the frames' own size"
    processed = [] if number == 3 else ["post-processed" if base.postprocess else "not post-processed"]
    counted = f"{_count(len(results), 'sequence')}, {_count(objects, 'object')}"
    facts = {
        "data": f"{asked.root.name}: {counted}, {played}: {frames} frames, scored against their truth",
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": ", ".join([f"{name} {value}" for name, value in fixed.items()] + [size, *processed]),
        "paper": TABLES[number].data,
    }
    if any(len(line.scores) > 1 for line in lines):
        facts["spread"] = (
            f"mean of {_count(asked.seeds, 'seed')} where random; min-max: smallest and largest J&F of them"
        )
    if any(line.name == "growing memory" for line in lines):
        facts["growing memory"] = f"a template of {_every(GROWING_EVERY)}, whatever the other rows do"
    return facts


def _every(number: int) -> str:
    return "every frame" if number == 1 else f"one in {number} frames"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _print(number: int, lines: Many[Line], facts: dict[str, str]) -> None:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=f"Table {number}: {TABLES[number].title}, in percent"
    )
    table.add_column("", no_wrap=True)
    drawn = any(len(line.scores) > 1 for line in lines)
    for heading in ("J", "F", "J&F", *(["min-max"] if drawn else []), "paper J", "F", "J&F"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        paper = line.paper
        printed = (None, None, None) if paper is None else (paper.j, paper.f, paper.j_and_f)
        low, high = (f"{100 * value:.1f}" for value in line.spread())
        table.add_row(
            line.name,
            *(f"{100 * line.mean(figure):.1f}" for figure in ("j_mean", "f_mean", "j_and_f")),
            *([f"{low}-{high}" if len(line.scores) > 1 else ""] if drawn else []),
            *("-" if value is None else f"{value:.1f}" for value in printed),
        )
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    console.print(table)
    for name, text in facts.items():
        console.print(f"{name}: {text}", markup=False, highlight=False, soft_wrap=True)


def _write(
    number: int, asked: Asked, setting: Setting, lines: Many[Line], facts: dict[str, str], seconds: float
) -> None:
    report: dict[str, Any] = {"table": number, "title": TABLES[number].title, "facts": facts}
    report |= {"root": str(asked.root), "split": None if asked.split is None else str(asked.split)}
    report |= {"model": asked.model, "weights_sha256": setting.weights, "rows": [x.to_dict() for x in lines]}
    report |= {"device": setting.runtime[0], "precision": setting.runtime[1]}
    report |= {"seconds_of_this_run": round(seconds, 1), "versions": versions()} | provenance()
    name, title = f"table{number}", f"Table {number}: {TABLES[number].title}"
    write_json(asked.out / f"{name}.json", report)
    bars = [_bar(line) for line in lines]
    plot_rows(bars, asked.out / f"{name}.png", title=title, ours=facts["data"], paper=facts["paper"])
    ages = {line.name: line.ages for line in lines}
    plot_ages(
        ages, asked.out / f"{name}-ages.png", title=f"Table {number}, age of the chosen templates, $d^K[t]$"
    )


def _bar(line: Line) -> Bar:
    low, high = line.spread()
    paper = None if line.paper is None else line.paper.j_and_f
    return Bar(line.name, 100 * line.mean("j_and_f"), 100 * low, 100 * high, paper)
