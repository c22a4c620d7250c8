"""``stremn evaluate`` and ``stremn score``: what a model makes of a data set, or masks, against the truth."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, count_files, new_table, printable, say, show
from stremn.commands.sheet import clips_report, prediction_facts, run_clips, shown
from stremn.errors import StremnError

if TYPE_CHECKING:
    from rich.table import Table

    from stremn.data import Video
    from stremn.metrics import ObjectScore, Score, ScoreTable
    from stremn.models import Predictor
    from stremn.sessions import SegmentationSession
    from stremn.tables.segmentation import Run

__all__ = ["evaluate", "render_scores", "score"]

SUBMISSION = "submission.zip"

log = logging.getLogger("stremn")


@dataclass(frozen=True, kw_only=True)
class Evaluated(options.DataOptions):
    """The options of the command beside those of a session."""

    out: Annotated[
        Path | None, typer.Option(help="Folder for the predicted masks or frames, for 'stremn figures'.")
    ] = None
    json: Annotated[Path | None, typer.Option(help="File for scores, settings and speed.")] = None
    overwrite: options.Overwrite = False


@bundled
def evaluate(asked: Evaluated, session: options.SessionOptions, clips: options.ClipOptions) -> None:
    """Run a model over a data set and score it: J and F of masks, or the errors of predicted frames.

    Where masks only give objects (DAVIS 2017 test-dev, YouTube-VOS valid), --out gets what the evaluation
    server takes, and submission.zip of it.
    """
    options.check_records(asked.json)
    predictor = options.predictor_of(session.model, clips)
    if predictor is None:
        _evaluate_masks(asked, session)
    else:
        _evaluate_frames(predictor, asked, session, clips)


def _evaluate_masks(asked: Evaluated, chosen: options.SessionOptions) -> None:
    from stremn.data import check_scorable, has_truth
    from stremn.files import write_json
    from stremn.files.outputs import remove
    from stremn.metrics import ScoreTable
    from stremn.provenance import versions
    from stremn.sessions import SegmentationSession
    from stremn.tables.figures import RECORD, PlayedSequence
    from stremn.tables.submission import Submission

    root, sequences = asked.videos()
    masks, submission = asked.out, None
    scored = {sequence.name: sequence for sequence in sequences if has_truth(sequence)}
    if not scored:
        if asked.out is None:
            raise StremnError(f"{root} has no mask to score against: give --out to keep the predictions")
        submission = Submission(asked.out, sequences)
        masks = submission.root
    for place in filter(None, (asked.out, masks)):
        _check_folder(root, place, asked.overwrite)
    for sequence in scored.values():
        check_scorable(sequence)
    session = SegmentationSession(chosen.model, chosen.segmentation())
    if asked.out is not None:
        # What tells of the masks of an earlier run must not outlive them.
        for name in (RECORD, SUBMISSION):
            remove(asked.out / name)
    scores: list[ObjectScore] = []
    memory: dict[str, Any] = {}
    frames, started = 0, time.monotonic()
    for sequence in sequences:
        folder = masks and masks / sequence.name
        run = _segmented(session, sequence, folder)
        if asked.out is not None and folder is not None:
            memory[sequence.name] = PlayedSequence.to_dict(run, sequence, folder, asked.out)
        found = run.scorer.result() if sequence.name in scored else []
        frames += len(sequence.frames)
        scores += found
        if found:
            mean = 100 * sum(s.j_and_f for s in found) / len(found)
            log.info("%s: J&F %.1f (%d objects)", sequence.name, mean, len(found))
        else:
            log.info("%s: not scored, its masks only show objects where they are given", sequence.name)
    seconds = time.monotonic() - started
    table = ScoreTable(tuple(scores)) if scores else None
    if table:
        show(render_scores(table))
    if submission is not None:
        upload = submission.folder / SUBMISSION
        submission.write(upload)
        say(f"{root.name} has no mask to score against: upload {upload} to its evaluation server")
    say(f"{frames} frames in {seconds:.0f} s, reading and scoring included")
    report: dict[str, Any] = {"root": str(root), "split": asked.split and str(asked.split)}
    report |= {"settings": chosen.describe_segmentation(session), "versions": versions()}
    report |= {"frames": frames, "seconds": round(seconds, 2)} | (table.to_dict() if table else {})
    if asked.json is not None:
        write_json(asked.json, report)
    if asked.out is not None:
        write_json(asked.out / RECORD, report | {"memory": memory})


def _check_folder(root: Path, out: Path, overwrite: bool) -> None:
    """Find out before hours of work, not after, what could not be written."""
    from stremn.files.outputs import check_folder

    check_folder(out, overwrite)
    inputs = [(root / name).resolve() for name in ("JPEGImages", "Annotations")]
    if any(place in (out.resolve(), *out.resolve().parents) for place in inputs):
        raise StremnError(f"output folder {out} is part of the data set: choose another one")


def _segmented(session: SegmentationSession, sequence: Video, folder: Path | None) -> Run:
    """The run of a sequence, whose predicted masks go to the folder, if there is one."""
    from stremn.data import PlayedFrame
    from stremn.files import write_mask
    from stremn.files.outputs import make_folder
    from stremn.tables.segmentation import segment_video

    if folder is not None:
        make_folder(folder)
    with FrameProgress(sequence.name, len(sequence.frames)) as progress:

        def keep(session: SegmentationSession, frame: PlayedFrame, labels: Any) -> None:
            if folder is not None:
                write_mask(folder / f"{frame.path.stem}.png", labels)
            progress.advance()

        (run,) = segment_video(sequence, [session], keep)
    return run


def _evaluate_frames(
    model: Predictor, asked: Evaluated, session: options.SessionOptions, clips: options.ClipOptions
) -> None:
    """The figures of a prediction model beside those of the baselines."""
    from stremn.files import write_json
    from stremn.files.outputs import check_folder, make_folder, remove
    from stremn.metrics.prediction.frames import FIGURES
    from stremn.tables import Row, base_trial
    from stremn.tables.figures import RECORD, KeptClips
    from stremn.tables.prediction import baseline_rows
    from stremn.tables.trained import read_training

    name = session.model
    options.refuse(
        f"'{name}', which predicts",
        split=asked.split,
        candidate_every=session.candidate_every,
        multi_scale=session.multi_scale,
        postprocess=session.postprocess is not None,
    )
    if asked.out is not None:
        check_folder(asked.out, asked.overwrite)
    trial = base_trial(model, session.prediction(size=0))
    test, parts = clips.open(asked, session, {name: model})
    row = Row(Path(name).name, (trial,), file=name, training=read_training(name))
    if asked.out is not None:
        make_folder(asked.out)
        remove(asked.out / RECORD)
    kept = KeptClips()
    rows, models = [row, *baseline_rows()], {trial.weights: model}
    lines, run = run_clips("evaluate", rows, parts, models, on_clip=kept.add)
    view = new_table([""], [line.name for line in lines])
    for figure in lines[0].figures:
        view.add_row(FIGURES[figure].label, *(shown(figure, line.mean(figure)) for line in lines))
    show(view)
    facts = prediction_facts(test, lines, lines[0].figures)
    for title, text in facts.items():
        say(f"{title}: {text}")
    say(f"{run['frames_of_this_run']} frames predicted in {run['seconds_of_this_run']:.0f} s")
    report = {"model": name, "weights_sha256": trial.weights, "facts": facts} | clips_report(test, lines)
    report |= {"rows": [line.to_dict() for line in lines]} | run
    if asked.json is not None:
        write_json(asked.json, report)
    if asked.out is not None:
        kept.write(asked.out, report)


def score(
    predictions: Annotated[
        Path, typer.Argument(help="Folder of one folder of PNG masks per sequence, or of one sequence.")
    ],
    truth: Annotated[
        Path, typer.Argument(help="Folder of the true masks, laid out alike, or the root of a DAVIS copy.")
    ],
    split: Annotated[
        Path | None, typer.Option(metavar="FILE", help="List of the sequences to score, one name per line.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all scores as JSON.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all scores as CSV.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads.  [default: one per core]")] = None,
) -> None:
    """Score predicted masks: region similarity J and contour accuracy F, as DAVIS 2017 defines them.

    The table is in percent; JSON and CSV hold fractions of 1. The first and the last frame are not scored;
    of YouTube-VOS each object is, from the frame after the one that gives it to the last.
    """
    from stremn.files import write_json, write_text
    from stremn.metrics import score_folders

    options.check_records(json_file, csv_file)
    if json_file is not None and json_file == csv_file:
        raise StremnError(f"{json_file} cannot be both JSON and CSV: give two files")
    with count_files("scoring") as seen:
        table = score_folders(
            predictions,
            truth,
            split=split,
            jobs=jobs,
            progress=lambda done, total: seen("scoring", done, total),
        )
    if json_file:
        write_json(json_file, table.to_dict())
    if csv_file:
        write_text(csv_file, table.to_csv())
    show(render_scores(table))


def render_scores(table: ScoreTable) -> Table:
    """Scores as a table in percent: one line per object, and a mean where a sequence has several."""
    headings = ("object", "J&F", "J", "J-R", "J-D", "F", "F-R", "F-D")
    view = new_table(["sequence"], headings, caption="percent; R recall (> 50), D decay")
    for sequence in table.sequences:
        members = [o for o in table.objects if o.sequence == sequence.sequence]
        for member in members:
            view.add_row(printable(member.sequence), str(member.object_id), *_percent(member))
        if len(members) > 1:
            view.add_row(printable(sequence.sequence), "mean", *_percent(sequence), style="bold")
    view.add_section()
    view.add_row("overall", str(len(table.objects)), *_percent(table.overall), style="bold")
    return view


def _percent(score: Score) -> list[str]:
    return [f"{100 * value:.1f}" for value in score.values().values()]
