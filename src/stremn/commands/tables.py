"""Run a table of the paper: check, play, print, and write JSON and pictures."""

import time
from collections.abc import Sequence
from typing import Any

from stremn.commands import options
from stremn.commands.asked import Asked
from stremn.commands.console import FrameProgress
from stremn.commands.forecast_options import ForecastOptions, predictor_of, refuse
from stremn.commands.forecast_tables import run_comparison, run_forecast_ablation
from stremn.commands.report import counted, make_folder, new_table, show
from stremn.data import read_videos
from stremn.errors import StremnError
from stremn.files import write_json
from stremn.models import SegmenterConfig, from_pretrained
from stremn.provenance import provenance, versions
from stremn.tables import Line, Result, ResultStore, Trial, run_trials, summarise, table_rows
from stremn.tables.paper import TABLES
from stremn.tables.plots import Bar, plot_ages, plot_rows
from stremn.tables.rows import GROWING_EVERY
from stremn.tables.segmentation import Setting, frames_to_play

__all__ = ["run_table"]

VARIED = {1: ("policy",), 2: ("slots",), 3: ("postprocess",)}
"""Options that a table sets itself."""


COMPARISON = 5
"""The one table of prediction."""


def run_table(number: int, asked: Asked, forecast: ForecastOptions) -> None:
    """Print a table and write it to the output folder, with what is there already not run again.

    Args:
        number: 1 to 3, or 5. With a prediction model 1 and 2 are ablations of prediction.
        asked: everything else.
        forecast: what only prediction needs.

    Raises:
        StremnError: on options, data or weights that cannot be used, before any run where possible.
    """
    if number == COMPARISON:
        run_comparison(asked, forecast)
    elif number not in TABLES:
        raise StremnError(
            f"there is no table {number} here: choose 1 (policies), 2 (slots), 3 (testing) or 5 (prediction)"
        )
    elif (predictor := predictor_of(asked.model, forecast)) is None:
        _run_segmentation(number, asked)
    elif number == 3:
        raise StremnError(
            f"table 3 is of segmentation, and '{asked.model}' predicts: give a segmentation model"
        )
    else:
        run_forecast_ablation(number, predictor, asked, forecast)


def _run_segmentation(number: int, asked: Asked) -> None:
    _check(number, asked)
    sequences = options.chosen_sequences(read_videos(asked.root, asked.split), asked.sequences)
    make_folder(asked.out)
    setting = Setting(from_pretrained(asked.model), asked.root, asked.long, asked.device, asked.precision)
    base = _base(asked, setting.model.config)
    rows = table_rows(number, base, asked.seeds)
    trials = list(dict.fromkeys(trial for row in rows for trial in row.trials))
    store = ResultStore(asked.out / "results.jsonl", Result)
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
    options.check_settings(asked.policy, asked.slots, asked.size, asked.candidate_every)
    for name in VARIED[number]:
        if getattr(asked, name):
            raise StremnError(
                f"--{name} cannot be given with table {number}, whose rows differ in it: leave it out"
            )
    refuse(f"table {number}", trained=asked.trained)


def _base(asked: Asked, config: SegmenterConfig) -> Trial:
    """What was given, or else the model's default."""
    return Trial(
        policy=asked.policy or config.policy,
        slots=config.slots if asked.slots is None else asked.slots,
        candidate_every=config.candidate_every if asked.candidate_every is None else asked.candidate_every,
        size=config.size if asked.size is None else asked.size,
        postprocess=asked.postprocess,
    )


def _facts(number: int, asked: Asked, base: Trial, lines: Sequence[Line]) -> dict[str, str]:
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
    shown = f"{counted(len(results), 'sequence')}, {counted(objects, 'object')}"
    facts = {
        "data": f"{asked.root.name}: {shown}, {played}: {frames} frames, scored against their truth",
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": ", ".join([f"{name} {value}" for name, value in fixed.items()] + [size, *processed]),
        "paper": TABLES[number].data,
    }
    if any(len(line.scores) > 1 for line in lines):
        facts["spread"] = (
            f"mean of {counted(asked.seeds, 'seed')} where random; min-max: smallest and largest J&F of them"
        )
    if any(line.name == "growing memory" for line in lines):
        facts["growing memory"] = f"a template of {_every(GROWING_EVERY)}, whatever the other rows do"
    return facts


def _every(number: int) -> str:
    return "every frame" if number == 1 else f"one in {number} frames"


def _print(number: int, lines: Sequence[Line], facts: dict[str, str]) -> None:
    drawn = any(len(line.scores) > 1 for line in lines)
    headings = ("J", "F", "J&F", *(["min-max"] if drawn else []), "paper J", "F", "J&F")
    table = new_table(f"Table {number}: {TABLES[number].title}, in percent", *headings)
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
    show(table, facts=facts)


def _write(
    number: int, asked: Asked, setting: Setting, lines: Sequence[Line], facts: dict[str, str], seconds: float
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
