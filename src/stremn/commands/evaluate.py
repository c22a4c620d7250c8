"""``stremn evaluate``: run a model over every sequence of a data set and score it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, say, show
from stremn.commands.forecast_options import ForecastOptions, check_memory, predictor_of, refuse
from stremn.commands.report import make_folder
from stremn.commands.score import render_scores
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.data import Video
    from stremn.metrics import ObjectScore
    from stremn.sessions import SegmentationSession

__all__ = ["evaluate", "evaluate_sequence"]

log = logging.getLogger("stremn")


@dataclass(frozen=True)
class Evaluated:
    """The options of the command beside those of a session."""

    data: options.Data
    split: options.Split = None
    sequences: options.Sequences = None
    out: Annotated[Path | None, typer.Option(help="Folder for the predicted masks.")] = None
    json: Annotated[Path | None, typer.Option(help="File for scores, settings and speed.")] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = (
        False
    )


@bundled
def evaluate(asked: Evaluated, session: options.SegmentationOptions, forecast: ForecastOptions) -> None:
    """Run a model over a data set and score it: J and F of masks, or the errors of predicted frames."""
    options.check_writable(asked.json)
    predictor = predictor_of(session.model, forecast)
    if predictor is None:
        _evaluate_masks(asked, session)
        return
    from stremn.commands.evaluate_forecasts import score_predictor

    refuse(
        f"'{session.model}', which predicts",
        out=asked.out,
        split=asked.split,
        candidate_every=session.candidate_every,
        multi_scale=session.multi_scale,
        postprocess=session.postprocess,
        overwrite=asked.overwrite,
    )
    check_memory(session.policy, session.slots)
    clips = forecast.open(asked.data, [(session.model, predictor)], session.size, asked.sequences)
    setting = forecast.setting(clips, [predictor], session.device, session.precision)
    score_predictor(
        *(session.model, predictor, setting, session.policy, session.slots, session.seed), report=asked.json
    )


def _evaluate_masks(asked: Evaluated, chosen: options.SegmentationOptions) -> None:
    from stremn.data import read_videos
    from stremn.files import write_json
    from stremn.metrics import ScoreTable
    from stremn.provenance import versions

    root = options.one_root(asked.data)
    sequences = options.chosen_sequences(read_videos(root, asked.split), asked.sequences)
    if asked.out is not None:
        _check_folder(root, asked.out, asked.overwrite)
    session = chosen.open()
    scores: list[ObjectScore] = []
    frames, started = 0, time.monotonic()
    for sequence in sequences:
        folder = None if asked.out is None else asked.out / sequence.name
        found = evaluate_sequence(session, sequence, folder)
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
    elif asked.out is None:
        raise StremnError(f"{root} has no mask to score against: give --out to keep the predictions")
    say(f"{frames} frames in {seconds:.0f} s, reading and scoring included")
    if asked.json is not None:
        report: dict[str, Any] = {"root": str(root), "split": asked.split and str(asked.split)}
        report |= {"settings": chosen.describe(session), "versions": versions()}
        report |= {"frames": frames, "seconds": round(seconds, 2)}
        write_json(asked.json, report | (table.to_dict() if table else {}))


def _check_folder(root: Path, out: Path, overwrite: bool) -> None:
    """Find out before hours of work, not after, what could not be written."""
    if out.exists() and not out.is_dir():
        raise StremnError(f"output {out} is a file: give a folder")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise StremnError(f"output folder {out} is not empty: empty it, or give --overwrite")
    folders = [
        root / part / name for part in ("", "train", "valid") for name in ("JPEGImages", "Annotations")
    ]
    inputs = [folder.resolve() for folder in folders]
    if any(place in (out.resolve(), *out.resolve().parents) for place in inputs):
        raise StremnError(f"output folder {out} is part of the data set: choose another one")


def evaluate_sequence(
    session: SegmentationSession, sequence: Video, folder: Path | None = None
) -> list[ObjectScore]:
    """Segment one sequence and score it frame by frame.

    Each object is given once, in the first frame whose annotation has it.

    Args:
        session: is reset first.
        sequence: frames and annotations; frames without annotation are segmented and not scored.
        folder: where predicted masks go, if anywhere.

    Returns:
        Scores of each object; none if every annotation only gives new objects, as in a public test set.

    Raises:
        StremnError: if a file cannot be read or no annotation has an object.
    """
    from stremn.data import new_objects, play
    from stremn.files import write_mask
    from stremn.metrics import SequenceScorer

    session.reset()
    scorer, scored = SequenceScorer(sequence.name), 0
    if folder is not None:
        make_folder(folder)
    with FrameProgress(sequence.name, len(sequence.frames)) as progress:
        for played in play(sequence):
            given = new_objects(played.truth, session.object_ids)
            scored += played.truth is not None and given is None
            labels = session.step(played.image, given).labels
            if played.truth is not None:
                scorer.update(labels, played.truth)
            if folder is not None:
                write_mask(folder / f"{played.path.stem}.png", labels)
            progress.advance()
    if not session.object_ids:
        raise StremnError(f"sequence '{sequence.name}': no annotation has an object")
    return scorer.result() if scored else []
