"""Tables of the paper on the task of segmentation, as ``stremn table`` makes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stremn.commands.options import refuse
from stremn.commands.sheet import MASK_FIGURES, SEEN_FIGURES, Sheet, counted, finish, notes_on, run_rows
from stremn.data import Video, has_truth, training_categories
from stremn.data.segmentation.videos import META_FILE
from stremn.errors import StremnError
from stremn.files.outputs import make_folder, remove
from stremn.metrics import ScoreTable
from stremn.models import Segmenter, as_model
from stremn.sessions.settings import SegmentationSettings
from stremn.tables import Line, PlayedVideo, ResultStore, Row, SegmentVideos, Trial, base_trial, table_rows
from stremn.tables.engine import GROWING
from stremn.tables.paper import TABLES
from stremn.tables.segmentation import CONSTANT, GROWING_EVERY, HELD, forget_lost_masks, seen_lines
from stremn.tables.submission import Submission
from stremn.tables.trained import read_training

if TYPE_CHECKING:
    from stremn.commands.options import SessionOptions
    from stremn.commands.table import TableOptions

__all__ = ["segmentation_table"]

Rows = list[Row[SegmentationSettings]]


def segmentation_table(number: int, asked: TableOptions, session: SessionOptions) -> None:
    """Tables 1 to 4 and 6: what differs is the memory, or the way of testing.

    Where the data has no truth, each row leaves masks and a zip for the evaluation server instead of figures.
    """
    # Rows share what they see of a frame, and see all of it, as the paper does.
    all_of_it = {"crop": False, "search_region": False}
    chosen = session.segmentation().changed(postprocess=session.postprocess is not False, **all_of_it)
    root, videos = asked.videos()
    if number == 4 and not any(video.joins for video in videos):
        raise StremnError(f"{root}: has no meta.json with objects: table 4 is of YouTube-VOS, give its root")
    truth = any(map(has_truth, videos))
    if not truth:
        refuse("data without truth", long=asked.long)
    make_folder(asked.out)
    models, rows = _own_rows(number, asked, chosen) if asked.own else _shared_rows(number, asked, chosen)
    submissions = {} if truth else _submissions(asked.out / "masks" / f"table{number}", rows, videos)
    items = [PlayedVideo(video, root, asked.long) for video in videos]
    store = ResultStore(asked.results, ScoreTable)
    forget_lost_masks(store, items, [trial for row in rows for trial in row.trials], submissions)
    zips = {asked.out / f"table{number}-{s.folder.name}.zip": s for s in submissions.values()}
    for path in zips:
        remove(path)
    make = partial(SegmentVideos, models, submissions=submissions)
    lines, run = run_rows(f"table {number}", rows, items, store, make)
    for path, submission in zips.items():
        submission.write(path)
    results = lines[0].results[0]
    frames = sum(r.frames for r in results)
    objects = sum(len(r.score.objects if r.score else r.details[HELD]) for r in results)
    shown = f"{counted(len(results), 'sequence')}, {counted(objects, 'object')}"
    played = "each played once"
    if asked.long:
        played = f"each played forth and back until {asked.long} frames or more were shown"
    printed = TABLES[number]
    if asked.own:
        weights = "each row has its own; digests and training runs are in the JSON file"
    else:
        weights = f"one set ({asked.model}) is reused in every row; nothing was trained for a row"
    facts = {
        "data": f"{root.name}: {shown}, {played}: {frames} frames, "
        + ("scored against their truth" if truth else "without truth"),
        "figures": "J, F and their mean in percent",
        "weights": weights,
        "settings": _shared_settings(rows),
        "paper": printed.data,
    }
    columns, main = (SEEN_FIGURES, "g") if number == 4 else (MASK_FIGURES, "j_and_f")
    if number == 4 and truth:
        lines, columns, main, told = _seen(lines, videos, root)
        facts |= told
    if not truth:
        facts["figures"] = (
            f"none: upload the zips of the rows, table{number}-*.zip in {asked.out}, to the evaluation server"
        )
    if printed.test_dev:
        said = (f"{name} {row.j} {row.f} {row.j_and_f}" for name, row in printed.test_dev.items())
        facts["paper, test-dev"] = f"J, F and their mean: {'; '.join(said)}"
    facts |= notes_on(
        lines, asked.seeds, f"a template of {_every(GROWING_EVERY)}, whatever the other rows do"
    )
    sheet = Sheet(f"Table {number}: {printed.title}", lines, columns, main, facts)
    report: dict[str, Any] = {
        "table": number,
        "root": str(root),
        "split": asked.split and str(asked.split),
    }
    if not asked.own:
        report |= {"model": asked.model, "weights_sha256": rows[0].trials[0].weights}
    finish(sheet, asked.out / f"table{number}", report | run, printed.data, trained=bool(asked.own))


def _seen(
    lines: list[Line[Any]], videos: Sequence[Video], root: Path
) -> tuple[list[Line[Any]], dict[str, str], str, dict[str, str]]:
    """Lines, columns, main figure and facts of table 4; of all objects where categories are not known."""
    told = seen_lines(lines, videos, training_categories(root))
    facts = {
        "figures": "in percent, of objects whose category is in training (seen) and of the others; G is the "
        "mean of the four; an object counts from the frame after the one that gives it to the last"
    }
    if told is not None:
        return told, SEEN_FIGURES, "g", facts
    meta = root.resolve().parent / "train" / META_FILE
    facts["seen"] = f"J, F and J&F are of all objects: {meta} or {root / META_FILE} lacks categories"
    return lines, MASK_FIGURES | SEEN_FIGURES, "j_and_f", facts


def _submissions(
    folder: Path, rows: Rows, videos: Sequence[Video]
) -> dict[Trial[SegmentationSettings], Submission]:
    """Where each trial leaves its masks: a folder named after its row, and its seed where it has several."""
    found = {}
    for row in rows:
        name = re.sub("[^a-z0-9]+", "-", row.name.lower()).strip("-")
        for trial in row.trials:
            seed = f"-seed-{trial.settings.seed}" if len(row.trials) > 1 else ""
            found[trial] = Submission(folder / f"{name}{seed}", videos)
    return found


def _shared_rows(
    number: int, asked: TableOptions, chosen: SegmentationSettings
) -> tuple[dict[str, Segmenter], Rows]:
    model = as_model(asked.model, Segmenter)  # type: ignore[type-abstract]
    base = base_trial(model, chosen)
    return {base.weights: model}, table_rows(number, base, asked.seeds)


def _own_rows(
    number: int, asked: TableOptions, chosen: SegmentationSettings
) -> tuple[dict[str, Segmenter], Rows]:
    """Rows with weights of their own, in the order of the table; a label is a policy or a number of slots."""
    models: dict[str, Segmenter] = {}
    found: dict[str, Row[SegmentationSettings]] = {}
    for label, file in asked.own.items():
        model = as_model(file, Segmenter)  # type: ignore[type-abstract]
        base = base_trial(model, chosen)
        models[base.weights] = model
        rows = table_rows(number, base, asked.seeds)
        known = [
            str(row.trials[0].settings.policy if number == 1 else row.trials[0].settings.slots)
            for row in rows
        ]
        if label not in known:
            raise StremnError(
                f"--model gives a row '{label}', which table {number} has not: choose from {', '.join(known)}"
            )
        found[label] = replace(rows[known.index(label)], file=file, training=read_training(file))
    return models, [found[label] for label in known if label in found]


def _shared_settings(rows: Rows) -> str:
    """What rows have in common; the memories of STM are set on their own."""
    said = []
    for row in rows:
        settings = row.trials[0].settings
        words = [f"policy {settings.policy}", f"K {settings.slots}"]
        words.append(f"candidates {_every(settings.candidate_every)}")
        words.append(f"shorter side {settings.size}" if settings.size else "the frames' own size")
        words.append("post-processed" if settings.postprocess else "not post-processed")
        if row.name not in (GROWING, CONSTANT) or len(rows) == 1:
            said.append(words)
    return ", ".join(words[0] for words in zip(*said, strict=True) if len(set(words)) == 1)


def _every(number: int | None) -> str:
    return "every frame" if number == 1 else f"one in {number} frames"
