"""``stremn table`` and ``stremn ablate``: tables of the paper beside ours, of either task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import new_table, say
from stremn.commands.sheet import MASK_FIGURES, Sheet, axis, clips_report, counted, run_clips, run_rows
from stremn.errors import StremnError

if TYPE_CHECKING:
    from rich.table import Table

    from stremn.models import Predictor
    from stremn.tables import Line

__all__ = ["ablate", "policies", "slots", "table"]

RESULTS = "results.jsonl"
ABLATIONS = {1: "policies", 2: "slots"}


@dataclass(frozen=True, kw_only=True)
class TableOptions(options.DataOptions):
    """The options of a table beside those of its sessions."""

    out: Annotated[
        Path, typer.Option(help="Folder for table, plots and results; goes on with what is in it.")
    ]
    long: Annotated[
        int, typer.Option(min=0, help="Play each sequence forth and back until so many frames were shown.")
    ] = 0
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each policy that draws random numbers.")] = 3
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Name of a model with weights, or a weights file; table 5: label=FILE for each row.",
        ),
    ] = None
    trained: Annotated[
        list[str] | None,
        typer.Option(help="label=TEXT for the column that says how a row of table 5 was trained."),
    ] = None

    @property
    def model(self) -> str:
        """The one set of weights of an ablation.

        Raises:
            StremnError: if several are given.
        """
        names = self.models or [options.SEGMENTER]
        if len(names) > 1:
            raise StremnError(
                f"--model {names[1]} is one too many: one set of weights serves every row of this table"
            )
        return names[0]


VARIED = {1: "policy", 2: "slots", 3: "postprocess"}
"""Settings that the rows of a table differ in."""

NOT_OF_TABLES = ("model", "seed", "multi_scale")
"""Options of a session that no table has: its rows decide."""

ablate = typer.Typer(
    name="ablate",
    no_args_is_help=True,
    help="Compare memories, as tables 1 and 2 of the paper do, with one set of weights.",
)


@partial(bundled, without=NOT_OF_TABLES)
def table(
    number: Annotated[
        int, typer.Argument(help="1 (policies), 2 (slots), 3 (ways of testing) or 5 (prediction).")
    ],
    asked: TableOptions,
    session: options.SessionOptions,
    clips: options.ClipOptions,
) -> None:
    """A table of the paper beside ours. 1 and 2 are the ablations of 'stremn ablate'; 5 compares models."""
    _run(number, asked, session, clips)


@ablate.command()
@partial(bundled, without=(*NOT_OF_TABLES, "policy", "trained"))
def policies(asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Table 1: which template is replaced. Rules A to F, the learned choice, and growing memory."""
    _run(1, asked, session, clips)


@ablate.command()
@partial(bundled, without=(*NOT_OF_TABLES, "slots", "trained"))
def slots(asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Table 2: how many slots there are, K = 3 to 7; of prediction, K = 1 to 7."""
    _run(2, asked, session, clips)


def _run(
    number: int, asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions
) -> None:
    """Print a table and write it to the output folder, with what is there already not run again.

    With a prediction model 1 and 2 are ablations of prediction.

    Raises:
        StremnError: on options, data or weights that cannot be used, before any run where possible.
    """
    if number == 5:
        _compare(asked, session, clips)
        return
    if number not in VARIED:
        raise StremnError(
            f"there is no table {number} here: choose 1 (policies), 2 (slots), 3 (testing) or 5 (prediction)"
        )
    given = {VARIED[number]: getattr(session, VARIED[number])}
    options.refuse(f"table {number}, whose rows differ in it", **given)
    options.refuse(f"table {number}", trained=asked.trained)
    predictor = options.predictor_of(asked.model, clips)
    if predictor is None:
        _segment(number, asked, session)
    elif number == 3:
        raise StremnError(
            f"table 3 is of segmentation, and '{asked.model}' predicts: give a segmentation model"
        )
    else:
        _predict(number, predictor, asked, session, clips)


def _segment(number: int, asked: TableOptions, session: options.SessionOptions) -> None:
    """Tables 1 to 3: what differs is the memory, or the way of testing."""
    from stremn.files.outputs import make_folder
    from stremn.metrics import ScoreTable
    from stremn.models import from_pretrained
    from stremn.tables import PlayedVideo, ResultStore, SegmentVideos, base_trial, table_rows
    from stremn.tables.paper import TABLES
    from stremn.tables.segmentation import GROWING_EVERY

    chosen = session.segmentation()
    root, videos = asked.videos()
    make_folder(asked.out)
    model = from_pretrained(asked.model)
    base = base_trial(model, chosen)
    lines, run = run_rows(
        f"table {number}",
        table_rows(number, base, asked.seeds),
        [PlayedVideo(video, root, asked.long) for video in videos],
        ResultStore(asked.out / RESULTS, ScoreTable),
        partial(SegmentVideos, model),
    )
    results = lines[0].results[0]
    objects, frames = sum(len(r.score.objects) for r in results), sum(r.frames for r in results)
    shown = f"{counted(len(results), 'sequence')}, {counted(objects, 'object')}"
    played = "each played once"
    if asked.long:
        played = f"each played forth and back until {asked.long} frames or more were shown"
    settings = base.settings
    fixed = {"policy": settings.policy, "K": settings.slots, "candidates": _every(settings.candidate_every)}
    fixed.pop({1: "policy", 2: "K"}.get(number, ""), None)
    words = [f"{name} {value}" for name, value in fixed.items()]
    words.append(f"shorter side {settings.size}" if settings.size else "the frames' own size")
    if number != 3:
        words.append("post-processed" if settings.postprocess else "not post-processed")
    facts = {
        "data": f"{root.name}: {shown}, {played}: {frames} frames, scored against their truth",
        "figures": "J, F and their mean in percent",
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": ", ".join(words),
        "paper": TABLES[number].data,
    } | _notes_on(lines, asked.seeds, f"a template of {_every(GROWING_EVERY)}, whatever the other rows do")
    sheet = Sheet(f"Table {number}: {TABLES[number].title}", lines, MASK_FIGURES, "j_and_f", facts)
    report = {"table": number, "root": str(root), "split": asked.split and str(asked.split)}
    report |= {"model": asked.model, "weights_sha256": base.weights}
    _finish(sheet, asked.out / f"table{number}", report | run, TABLES[number].data)


def _predict(
    number: int,
    model: Predictor,
    asked: TableOptions,
    session: options.SessionOptions,
    clips: options.ClipOptions,
) -> None:
    """Tables 1 and 2 on the task of prediction."""
    from dataclasses import replace

    from stremn.files.outputs import make_folder
    from stremn.tables import base_trial
    from stremn.tables.engine import policy_rows, slot_rows
    from stremn.tables.paper import TABLES
    from stremn.tables.prediction import copy_row

    _refuse_segmentation(asked, session, f"'{asked.model}', which predicts")
    base = base_trial(model, session.prediction(size=0))
    if base.settings.slots is None:
        raise StremnError(
            f"'{asked.model}' has no memory slots to compare: give a model with slots, as stremn-predict"
        )
    test, parts = clips.open(asked, session, {asked.model: model})
    rows = policy_rows(base, asked.seeds) if number == 1 else slot_rows(base, asked.seeds, range(1, 8))
    # The paper has these tables of segmentation only.
    rows = [copy_row(), *(replace(row, paper=None, file=asked.model) for row in rows)]
    make_folder(asked.out)
    name = ABLATIONS[number]
    lines, run = run_clips(f"ablate {name}", rows, parts, {base.weights: model}, asked.out / RESULTS)
    fixed = f"K = {base.settings.slots}" if number == 1 else f"policy {base.settings.policy}"
    facts = {
        "weights": f"one set ({asked.model}) is reused in every row; nothing was trained for a row",
        "settings": f"{fixed}, every frame a candidate",
        "paper": "has no such table of prediction",
    } | _notes_on(lines, asked.seeds, "a template of every frame, none is ever replaced")
    sheet = Sheet.of_clips(f"{TABLES[number].title.capitalize()}, video prediction", test, lines, facts)
    report = {"model": asked.model, "weights_sha256": base.weights} | clips_report(test, lines)
    _finish(sheet, asked.out / f"predict-{name}", report | run)


def _compare(asked: TableOptions, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Table 5: prediction models, each with weights of its own, beside copying the last frame."""
    from stremn.files.outputs import make_folder
    from stremn.models import Predictor, as_model
    from stremn.tables import Row, base_trial
    from stremn.tables.paper import MOVING_MNIST, MOVING_MNIST_SOURCE, PREDICTION, PREDICTION_DATA
    from stremn.tables.plots import plot_horizon
    from stremn.tables.prediction import copy_row
    from stremn.tables.trained import Training, read_training

    options.refuse("table 5", policy=session.policy, slots=session.slots)
    _refuse_segmentation(asked, session, "table 5")
    files = _labelled(asked.models, "model")
    if not files:
        raise StremnError("table 5 needs --model label=FILE for each of its rows")
    by_hand = _labelled(asked.trained, "trained")
    for label in by_hand:
        if label not in files:
            raise StremnError(f"--trained names '{label}', which no --model has: give it the label of a row")
    models: dict[str, Predictor] = {
        label: as_model(file, Predictor)  # type: ignore[type-abstract]
        for label, file in files.items()
    }
    test, parts = clips.open(asked, session, models)
    rows, by_digest = [copy_row()], {}
    for label, model in models.items():
        trial = base_trial(model, session.prediction(size=0))
        by_digest[trial.weights] = model
        training = Training(by_hand[label]) if label in by_hand else read_training(files[label])
        rows.append(Row(label, (trial,), file=files[label], training=training))
    make_folder(asked.out)
    lines, run = run_clips("table 5", rows, parts, by_digest, asked.out / RESULTS)
    facts = {
        "weights": "each row has its own; digests and training runs are in the JSON file",
        "paper": f"{PREDICTION_DATA}: not measured on our data",
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
    _done(run, asked.out)


def _every(number: int | None) -> str:
    return "every frame" if number == 1 else f"one in {number} frames"


def _notes_on(lines: Sequence[Line[Any]], seeds: int, growing: str) -> dict[str, str]:
    from stremn.tables.engine import GROWING

    notes = {}
    if any(len(line.scores) > 1 for line in lines):
        notes["spread"] = f"mean of {counted(seeds, 'seed')} where random; min-max: smallest and largest"
    if any(line.name == GROWING for line in lines):
        notes[GROWING] = growing
    return notes


def _refuse_segmentation(asked: TableOptions, session: options.SessionOptions, what: str) -> None:
    options.refuse(
        what,
        split=asked.split,
        long=asked.long,
        candidate_every=session.candidate_every,
        postprocess=session.postprocess,
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


def _paper() -> Table:
    from stremn.tables.paper import PREDICTION

    headings = ("MSE/10", "MAE/100", "SSIM", "KTH PSNR", "SSIM", "LPIPS")
    view = new_table([""], headings, title="Table 5 of the paper: Human3.6M and KTH")
    for name, row in PREDICTION.items():
        values = (row.mse, row.mae, row.ssim, row.kth_psnr, row.kth_ssim, row.kth_lpips)
        view.add_row(name, *("-" if value is None else f"{value:g}" for value in values))
    return view


def _published() -> Table:
    from stremn.tables.paper import MOVING_MNIST

    view = new_table([""], ["MSE"], title="Published for Moving MNIST")
    for name, value in MOVING_MNIST.items():
        view.add_row(name, f"{value:.1f}")
    return view


def _finish(sheet: Sheet, path: Path, report: dict[str, Any], paper: str | None = None) -> None:
    sheet.show()
    sheet.write(path, report)
    sheet.draw(path, paper)
    _done(report, path.parent)


def _done(run: Mapping[str, Any], folder: Path) -> None:
    frames, seconds = run["frames_of_this_run"], run["seconds_of_this_run"]
    say(f"{frames} frames in {seconds:.0f} s, all rows counted; see {folder}")
