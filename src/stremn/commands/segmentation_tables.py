"""Tables of the paper on the task of segmentation, as ``stremn table`` makes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from stremn.commands.sheet import MASK_FIGURES, Sheet, counted, finish, notes_on, run_rows
from stremn.files.outputs import make_folder
from stremn.metrics import ScoreTable
from stremn.models import from_pretrained
from stremn.tables import PlayedVideo, ResultStore, SegmentVideos, base_trial, table_rows
from stremn.tables.paper import TABLES
from stremn.tables.segmentation import GROWING_EVERY

if TYPE_CHECKING:
    from stremn.commands.options import SessionOptions
    from stremn.commands.table import TableOptions

__all__ = ["segmentation_table"]


def segmentation_table(number: int, asked: TableOptions, session: SessionOptions) -> None:
    """Tables 1 to 3: what differs is the memory, or the way of testing."""
    chosen = session.segmentation()
    root, videos = asked.videos()
    make_folder(asked.out)
    model = from_pretrained(asked.model)
    base = base_trial(model, chosen)
    lines, run = run_rows(
        f"table {number}",
        table_rows(number, base, asked.seeds),
        [PlayedVideo(video, root, asked.long) for video in videos],
        ResultStore(asked.results, ScoreTable),
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
    } | notes_on(lines, asked.seeds, f"a template of {_every(GROWING_EVERY)}, whatever the other rows do")
    sheet = Sheet(f"Table {number}: {TABLES[number].title}", lines, MASK_FIGURES, "j_and_f", facts)
    report = {"table": number, "root": str(root), "split": asked.split and str(asked.split)}
    report |= {"model": asked.model, "weights_sha256": base.weights}
    finish(sheet, asked.out / f"table{number}", report | run, TABLES[number].data)


def _every(number: int | None) -> str:
    return "every frame" if number == 1 else f"one in {number} frames"
