"""Tables of the paper on the task of prediction, as ``stremn table`` makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stremn.commands import options
from stremn.commands.console import new_table
from stremn.commands.sheet import Sheet, axis, clips_report, finish, notes_on, run_clips, say_done
from stremn.errors import StremnError
from stremn.files.outputs import make_folder
from stremn.models import Predictor, as_model
from stremn.tables import Row, base_trial
from stremn.tables.engine import UNREAD, policy_rows, slot_rows
from stremn.tables.paper import MOVING_MNIST, MOVING_MNIST_SOURCE, PREDICTION, PREDICTION_DATA, TABLES
from stremn.tables.plots import plot_horizon
from stremn.tables.prediction import baseline_rows
from stremn.tables.trained import Training, read_training

if TYPE_CHECKING:
    from rich.table import Table

    from stremn.commands.table import TableOptions

__all__ = ["prediction_ablation", "prediction_table"]


def prediction_ablation(
    number: int,
    model: Predictor,
    asked: TableOptions,
    session: options.SessionOptions,
    clips: options.ClipOptions,
) -> None:
    """Tables 1 and 2 on the task of prediction."""
    _refuse_segmentation(asked, session, f"'{asked.model}', which predicts")
    base = base_trial(model, session.prediction(size=0))
    if base.settings.slots is None:
        raise StremnError(
            f"'{asked.model}' has no memory slots to compare: give a model with slots, as stremn-predict"
        )
    test, parts = clips.open(asked, session, {asked.model: model})
    rows = policy_rows(base, asked.seeds) if number == 1 else slot_rows(base, asked.seeds, range(1, 8))
    rows.append(Row(UNREAD, (base.changed(readout=False),)))
    # The paper has these tables of segmentation only.
    rows = [*baseline_rows(), *(replace(row, paper=None, file=asked.model) for row in rows)]
    make_folder(asked.out)
    name = {1: "policies", 2: "slots"}[number]
    lines, run = run_clips(f"ablate {name}", rows, parts, {base.weights: model}, asked.results)
    fixed = f"K = {base.settings.slots}" if number == 1 else f"policy {base.settings.policy}"
    facts = {
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": f"{fixed}, every frame a candidate",
        "paper": "has no such table of prediction",
    } | notes_on(lines, asked.seeds, "a template of every frame, none is ever replaced")
    sheet = Sheet.of_clips(f"{TABLES[number].title.capitalize()}, video prediction", test, lines, facts)
    report = {"model": asked.model, "weights_sha256": base.weights} | clips_report(test, lines)
    finish(sheet, asked.out / f"predict-{name}", report | run)


def prediction_table(
    asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions
) -> None:
    """Table 5: prediction models, each with weights of its own, beside the baselines."""
    options.refuse("table 5", policy=session.policy, slots=session.slots)
    _refuse_segmentation(asked, session, "table 5")
    files = asked.labelled("model")
    if not files:
        raise StremnError("table 5 needs --model label=FILE for each of its rows")
    by_hand = asked.labelled("trained")
    for label in by_hand:
        if label not in files:
            raise StremnError(f"--trained names '{label}', which no --model has: give it the label of a row")
    models: dict[str, Predictor] = {
        label: as_model(file, Predictor)  # type: ignore[type-abstract]
        for label, file in files.items()
    }
    test, parts = clips.open(asked, session, models)
    rows, by_digest = baseline_rows(), {}
    for label, model in models.items():
        trial = base_trial(model, session.prediction(size=0))
        by_digest[trial.weights] = model
        training = Training(by_hand[label]) if label in by_hand else read_training(files[label])
        # Sums over the pixels, and figures of other lengths, are not to be compared.
        paper = PREDICTION[label].of(test.kind) if test.usual and label in PREDICTION else {}
        rows.append(Row(label, (trial,), paper or None, files[label], training))
    make_folder(asked.out)
    lines, run = run_clips("table 5", rows, parts, by_digest, asked.results)
    facts = {
        "weights": "each row has its own; digests and training runs are in the JSON file",
        "paper": f"{PREDICTION_DATA}: not measured here",
    }
    beside = [_paper()]
    report: dict[str, Any] = {"table": 5}
    report["paper"] = {"data": PREDICTION_DATA} | {name: vars(row) for name, row in PREDICTION.items()}
    if test.kind.startswith("moving-mnist"):
        beside.append(_published())
        facts["published"] = MOVING_MNIST_SOURCE
        report["published"] = {"source": MOVING_MNIST_SOURCE, "mse": MOVING_MNIST}
    sheet = Sheet.of_clips("Table 5: video prediction", test, lines, facts)
    sheet.show(*beside, trained=True)
    sheet.write(asked.out / "table5", report | clips_report(test, lines) | run)
    panels = {
        axis(name): {line.name: line.scores[0].curves[name] for line in lines}
        for name in (sheet.main, "ssim")
    }
    plot_horizon(panels, asked.out / "table5.png", title=sheet.title, note=test.note)
    say_done(run, asked.out)


def _refuse_segmentation(asked: TableOptions, session: options.SessionOptions, what: str) -> None:
    options.refuse(
        what,
        split=asked.split,
        long=asked.long,
        candidate_every=session.candidate_every,
        postprocess=session.postprocess is not None,
    )


def _paper() -> Table:
    headings = ("MSE/10", "MAE/100", "SSIM", "KTH PSNR", "SSIM", "LPIPS")
    view = new_table([""], headings, title="Table 5 of the paper: Human3.6M and KTH")
    for name, row in PREDICTION.items():
        values = (row.mse, row.mae, row.ssim, row.kth_psnr, row.kth_ssim, row.kth_lpips)
        view.add_row(name, *("-" if value is None else f"{value:g}" for value in values))
    return view


def _published() -> Table:
    view = new_table([""], ["MSE"], title="Published for Moving MNIST")
    for name, value in MOVING_MNIST.items():
        view.add_row(name, f"{value:.1f}")
    return view
