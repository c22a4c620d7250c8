"""Tables of prediction: the ablations of its memory, and table 5, which compares models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from stremn.commands.asked import Asked
from stremn.commands.forecast_options import ForecastOptions, check_memory, read_predictor, refuse
from stremn.commands.forecast_runs import FILE, SUMS, Outcome, convention_facts, predict_rows, shown
from stremn.commands.report import counted, make_folder, new_table, show
from stremn.errors import StremnError
from stremn.files import write_json
from stremn.metrics.prediction.frames import FIGURES
from stremn.models import Predictor
from stremn.tables.forecast_rows import (
    ForecastLine,
    ForecastRow,
    copy_row,
    policy_rows,
    slot_rows,
)
from stremn.tables.paper import MOVING_MNIST, MOVING_MNIST_SOURCE, PREDICTION, PREDICTION_DATA, TABLES
from stremn.tables.plots import Bar, plot_ages, plot_horizon, plot_rows
from stremn.tables.prediction import ForecastTrial
from stremn.tables.rows import GROWING
from stremn.tables.store import weights_digest
from stremn.tables.trained import Training, read_training

__all__ = ["run_comparison", "run_forecast_ablation"]

ABLATIONS = {1: "policies", 2: "slots"}

COLUMNS = {
    "kth": ("psnr", "ssim", "lpips", "psnr_predrnn", "ssim_predrnn", "lpips_predrnn", "ssim_openstl"),
    "videos": ("mse_pixel", "mae_pixel", "psnr", "ssim", "lpips"),
}
"""Figures that are printed, by kind of data, as far as there are; the others are in the JSON file."""

USUAL = ("mse", "mae", "psnr", "ssim", "lpips")


def run_forecast_ablation(number: int, model: Predictor, asked: Asked, forecast: ForecastOptions) -> None:
    """Policies or numbers of slots on the task of prediction, with one set of weights.

    Args:
        number: 1 for policies, 2 for slots.
        model: with the weights.
        asked: everything else.
        forecast: what is predicted.

    Raises:
        StremnError: on options or data that cannot be used, before any run where possible.
    """
    name = ABLATIONS[number]
    _refuse_segmentation(asked, f"'{asked.model}', which predicts", trained=asked.trained)
    refuse(f"an ablation of {name}", **({"policy": asked.policy} if number == 1 else {"slots": asked.slots}))
    check_memory(asked.policy, asked.slots)
    rules = model.rules(asked.slots, asked.policy)
    if rules is None:
        raise StremnError(
            f"'{asked.model}' has no memory slots to compare: give a model with slots, as stremn-predict"
        )
    clips = forecast.open(asked.data, [(asked.model, model)], asked.size, asked.sequences)
    digest = weights_digest(model)
    base = ForecastTrial(digest, rules.policy.name, rules.layout.slots)
    rows = policy_rows(base, asked.seeds) if number == 1 else slot_rows(base, asked.seeds)
    rows = [ForecastRow(row.name, row.trials, asked.model) for row in rows]
    setting = forecast.setting(clips, [model], asked.device, asked.precision)
    make_folder(asked.out)
    outcome = predict_rows(f"ablate {name}", setting, [copy_row(), *rows], asked.out / FILE)
    facts = _ablation_facts(number, outcome, base, asked)
    title = f"{TABLES[number].title.capitalize()}, video prediction"
    show(_table(title, outcome.lines, _columns(outcome)), facts=facts)
    report = {"title": title, "facts": facts, "model": asked.model, "weights_sha256": digest}
    file = f"predict-{name}"
    _write(asked.out / f"{file}.json", report, outcome)
    lines = [line for line in outcome.lines if line.row.file]
    figure = _main_figure(outcome)
    bars = [
        Bar(line.name, line.mean(figure), *(line.spread(figure) if len(line.scores) > 1 else [None] * 2))
        for line in lines
    ]
    plot_rows(bars, asked.out / f"{file}.png", title=title, ours=facts["data"], axis=_axis(figure))
    ages = {line.name: line.ages for line in lines}
    plot_ages(ages, asked.out / f"{file}-ages.png", title=f"{title}: age of the templates read, $d^K[t]$")
    _done(outcome, asked.out)


def run_comparison(asked: Asked, forecast: ForecastOptions) -> None:
    """Table 5: models, each with weights of its own, beside copying the last frame.

    Args:
        asked: with ``label=FILE`` for each row.
        forecast: what is predicted.

    Raises:
        StremnError: on options, weights or data that cannot be used, before any run where possible.
    """
    _refuse_segmentation(asked, "table 5", policy=asked.policy, slots=asked.slots)
    files = _labelled(asked.models, "model")
    if not files:
        raise StremnError("table 5 needs --model label=FILE for each of its rows")
    by_hand = _labelled(asked.trained, "trained")
    for label in by_hand:
        if label not in files:
            raise StremnError(f"--trained names '{label}', which no --model has: give it the label of a row")
    models = {label: read_predictor(file) for label, file in files.items()}
    clips = forecast.open(asked.data, list(models.items()), asked.size, asked.sequences)
    rows = [copy_row()]
    for label, model in models.items():
        rules, trial = model.rules(), ForecastTrial(weights_digest(model))
        if rules is not None:
            trial = replace(trial, policy=rules.policy.name, slots=rules.layout.slots)
        training = Training(by_hand[label]) if label in by_hand else read_training(files[label])
        rows.append(ForecastRow(label, (trial,), files[label], training))
    setting = forecast.setting(clips, models.values(), asked.device, asked.precision)
    make_folder(asked.out)
    outcome = predict_rows("table 5", setting, rows, asked.out / FILE)
    columns = _columns(outcome)
    facts = {
        "data": clips.note,
        "figures": SUMS,
        "weights": "each row has its own; digests and training runs are in the JSON file",
        "paper": f"{PREDICTION_DATA}: not measured on our data",
    } | convention_facts(columns)
    moving = clips.kind.startswith("moving-mnist")
    beside = [_paper()]
    if moving:
        beside.append(_published())
        facts["published"] = MOVING_MNIST_SOURCE
    show(_table("Table 5: video prediction", outcome.lines, columns, trained=True), *beside, facts=facts)
    report: dict[str, Any] = {"table": 5, "title": "video prediction", "facts": facts}
    report["paper"] = {"data": PREDICTION_DATA} | {name: vars(row) for name, row in PREDICTION.items()}
    if moving:
        report["published"] = {"source": MOVING_MNIST_SOURCE, "mse": MOVING_MNIST}
    _write(asked.out / "table5.json", report, outcome)
    panels = {
        _axis(name): {line.name: line.curve(name) for line in outcome.lines}
        for name in (_main_figure(outcome), "ssim")
    }
    plot_horizon(panels, asked.out / "table5.png", title="Table 5: video prediction", note=clips.note)
    _done(outcome, asked.out)


def _refuse_segmentation(asked: Asked, what: str, **more: object) -> None:
    refuse(
        what,
        split=asked.split,
        long=asked.long,
        candidate_every=asked.candidate_every,
        postprocess=asked.postprocess,
        **more,
    )


def _labelled(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """``label=value`` by label; a value alone, which only a model can be, is its own label."""
    found: dict[str, str] = {}
    for text in given or ():
        label, equals, value = text.partition("=")
        if option == "model" and (not equals or Path(text).exists()):
            label = value = text
        if not label or not value:
            raise StremnError(f"--{option} {text} is not understood: give label=TEXT")
        if label in found:
            raise StremnError(f"--{option} gives '{label}' twice: give each row a label of its own")
        found[label] = value
    return found


def _columns(outcome: Outcome) -> list[str]:
    wanted = COLUMNS.get(outcome.setting.clips.kind, USUAL)
    return [name for name in wanted if name in outcome.lines[0].figures]


def _main_figure(outcome: Outcome) -> str:
    """What the picture shows: what the data set's tables do."""
    return "psnr" if outcome.setting.clips.kind in ("kth", "videos") else "mse"


def _axis(figure: str) -> str:
    better = "lower" if FIGURES[figure].lower_is_better else "higher"
    return f"{FIGURES[figure].label} ({better} is better)"


def _table(
    title: str, lines: Sequence[ForecastLine], columns: Sequence[str], *, trained: bool = False
) -> Table:
    drawn = any(len(line.scores) > 1 for line in lines)
    table = new_table(title, *(FIGURES[name].label for name in columns))
    if drawn:
        table.add_column(f"min-max {FIGURES[columns[0]].label}", justify="right", no_wrap=True)
    if trained:
        table.add_column("trained", no_wrap=True)
    for line in lines:
        low, high = (shown(columns[0], value) for value in line.spread(columns[0]))
        known = "" if line.row.file is None else str(line.row.training or "not known")
        table.add_row(
            line.name,
            *(shown(name, line.mean(name)) for name in columns),
            *([f"{low}-{high}" if len(line.scores) > 1 else ""] if drawn else []),
            *([known] if trained else []),
        )
    return table


def _paper() -> Table:
    headings = ("MSE/10", "MAE/100", "SSIM", "KTH PSNR", "SSIM", "LPIPS")
    table = new_table("Table 5 of the paper: Human3.6M and KTH", *headings)
    for name, row in PREDICTION.items():
        values = (row.mse, row.mae, row.ssim, row.kth_psnr, row.kth_ssim, row.kth_lpips)
        table.add_row(name, *("-" if value is None else f"{value:g}" for value in values))
    return table


def _published() -> Table:
    table = new_table("Published for Moving MNIST", "MSE")
    for name, value in MOVING_MNIST.items():
        table.add_row(name, f"{value:.1f}")
    return table


def _ablation_facts(number: int, outcome: Outcome, base: ForecastTrial, asked: Asked) -> dict[str, str]:
    fixed = f"K = {base.slots}" if number == 1 else f"policy {base.policy}"
    facts = {
        "data": outcome.setting.clips.note,
        "figures": SUMS,
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": f"{fixed}, every frame a candidate",
        "paper": "has no such table of prediction",
    } | convention_facts(_columns(outcome))
    if any(len(line.scores) > 1 for line in outcome.lines):
        facts["spread"] = (
            f"mean of {counted(asked.seeds, 'seed')} where random; min-max: smallest and largest"
        )
    if any(line.name == GROWING for line in outcome.lines):
        facts[GROWING] = "a template of every frame, none is ever replaced"
    return facts


def _write(path: Path, report: dict[str, Any], outcome: Outcome) -> None:
    write_json(path, report | {"rows": [line.to_dict() for line in outcome.lines]} | outcome.report())


def _done(outcome: Outcome, folder: Path) -> None:
    frames, seconds = outcome.frames, outcome.seconds
    print(f"{frames} frames predicted in {seconds:.0f} s, all rows counted; see {folder}")
