"""``stremn evaluate``: run a model over every sequence of a data set and score it."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress
from stremn.commands.evaluate_forecasts import score_predictor
from stremn.commands.forecast_options import ForecastOptions, check_memory, predictor_of, refuse
from stremn.commands.report import make_folder
from stremn.commands.score import print_scores
from stremn.commands.segment import versions
from stremn.data import Video, new_objects, play, read_videos
from stremn.errors import StremnError
from stremn.files import write_json, write_mask
from stremn.metrics import ObjectScore, ScoreTable, SequenceScorer
from stremn.sessions import SegmentationSession

__all__ = ["evaluate", "evaluate_sequence"]

log = logging.getLogger("stremn")


@dataclass(frozen=True)
class Evaluated:
    """The options of the command."""

    data: options.Data
    split: options.Split = None
    sequences: options.Sequences = None
    out: Annotated[Path | None, typer.Option(help="Folder for the predicted masks.")] = None
    json: Annotated[Path | None, typer.Option(help="File for scores, settings and speed.")] = None
    model: options.Model = "stremn-lite"
    policy: options.Policy = None
    slots: options.Slots = None
    size: options.Size = None
    device: options.Device = "auto"
    precision: options.Precision = "auto"
    candidate_every: options.CandidateEvery = None
    seed: options.Seed = 0
    multi_scale: options.MultiScale = False
    postprocess: options.PostProcess = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = (
        False
    )


@bundled
def evaluate(asked: Evaluated, forecast: ForecastOptions) -> None:
    """Run a model over a data set and score it: J and F of masks, or the errors of predicted frames."""
    predictor = predictor_of(asked.model, forecast)
    if predictor is None:
        _evaluate_masks(asked)
        return
    _check_json(asked.json)
    refuse(
        f"'{asked.model}', which predicts",
        out=asked.out,
        split=asked.split,
        candidate_every=asked.candidate_every,
        multi_scale=asked.multi_scale,
        postprocess=asked.postprocess,
        overwrite=asked.overwrite,
    )
    check_memory(asked.policy, asked.slots)
    clips = forecast.open(asked.data, [(asked.model, predictor)], asked.size, asked.sequences)
    setting = forecast.setting(clips, [predictor], asked.device, asked.precision)
    score_predictor(asked.model, predictor, setting, asked.policy, asked.slots, asked.seed, report=asked.json)


def _evaluate_masks(asked: Evaluated) -> None:
    root, split, out, json = options.one_root(asked.data), asked.split, asked.out, asked.json
    sequences = options.chosen_sequences(read_videos(root, split), asked.sequences)
    _check_outputs(root, out, json, asked.overwrite)
    session = options.open_session(
        *(asked.model, asked.policy, asked.slots, asked.size, asked.device, asked.precision),
        *(asked.candidate_every, asked.seed),
        multi_scale=asked.multi_scale,
        postprocess=asked.postprocess,
    )
    scores: list[ObjectScore] = []
    frames, started = 0, time.monotonic()
    for sequence in sequences:
        folder = None if out is None else out / sequence.name
        found = evaluate_sequence(session, sequence, folder)
        frames += len(sequence.frames)
        scores += found
        if found:
            mean = 100 * float(np.mean([s.j_and_f for s in found]))
            log.info("%s: J&F %.1f (%d objects)", sequence.name, mean, len(found))
        else:
            log.info("%s: not scored, its masks only show objects where they are given", sequence.name)
    seconds = time.monotonic() - started
    table = ScoreTable(tuple(scores)) if scores else None
    if table:
        print_scores(table)
    elif out is None:
        raise StremnError(f"{root} has no mask to score against: give --out to keep the predictions")
    print(f"{frames} frames in {seconds:.0f} s, reading and scoring included")
    if json is not None:
        report: dict[str, Any] = {"root": str(root), "split": None if split is None else str(split)}
        report |= {"settings": options.describe_session(session, asked.model), "versions": versions()}
        report |= {"frames": frames, "seconds": round(seconds, 2)}
        write_json(json, report | (table.to_dict() if table else {}))


def _check_json(path: Path | None) -> None:
    if path is not None and not path.absolute().parent.is_dir():
        raise StremnError(f"{path} cannot be written: make the folder {path.absolute().parent} first")


def _check_outputs(root: Path, out: Path | None, json: Path | None, overwrite: bool) -> None:
    """Find out before hours of work, not after, what could not be written."""
    _check_json(json)
    if out is None:
        return
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
    session.reset()
    scorer, scored = SequenceScorer(sequence.name), 0
    if folder is not None:
        make_folder(folder)
    with FrameProgress(sequence.name, len(sequence.frames)) as progress:
        for moment in play(sequence):
            given = new_objects(moment.truth, session.object_ids)
            scored += moment.truth is not None and given is None
            labels = session.step(moment.image, given).labels
            if moment.truth is not None:
                scorer.update(labels, moment.truth)
            if folder is not None:
                write_mask(folder / f"{moment.path.stem}.png", labels)
            progress.advance()
    if not session.object_ids:
        raise StremnError(f"sequence '{sequence.name}': no annotation has an object")
    return scorer.result() if scored else []
