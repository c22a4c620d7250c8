"""``stremn segment-many``: what ``stremn segment`` does, for all videos of a list, on one machine or many."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import (
    Interrupted,
    RunProgress,
    new_table,
    note,
    say,
    show,
    stop_between_frames,
)
from stremn.commands.corpus import Outcome, Work, read_finished, remove_parts
from stremn.commands.corpus_engines import EngineOptions
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.files.corpus import CorpusVideo

__all__ = ["segment_many"]

TABLE, SETTINGS = "videos.csv", "settings.json"

_WEIGHTS = "digest of the weights"
_COLUMNS = ("frames", "objects", "frames_lost", "mean_confidence", "seconds", "frames_per_second")


@bundled
def segment_many(
    listing: Annotated[
        Path,
        typer.Argument(
            metavar="LIST",
            help="CSV file with a header video,masks[,name]; text file of such lines; or a folder of videos, "
            "beside each its masks under the same name.",
        ),
    ],
    out: Annotated[Path, typer.Option(help=f"Folder for a folder a video, as of stremn segment; {TABLE}.")],
    engine: EngineOptions,
    asked: options.SessionOptions,
    wanted: options.ExportOptions,
) -> None:
    """Follow objects through many videos; given again, it goes on where it stopped."""
    from stremn.files.corpus import read_corpus
    from stremn.files.outputs import make_folder

    videos = read_corpus(listing)
    for reserved in (TABLE, SETTINGS, "slurm"):
        if reserved in (video.name for video in videos):
            raise StremnError(f"{listing}: a video cannot be called {reserved}: give another name")
    # Workers may have another working folder.
    asked = replace(asked, model=_absolute(asked.model))
    wanted = replace(wanted, behind=_absolute(wanted.behind))
    _check(asked)
    out = out.expanduser().absolute()
    if os.path.realpath(listing.expanduser()) in [os.path.realpath(out / name) for name in (TABLE, SETTINGS)]:
        raise StremnError(f"{listing} lies where the results go: choose another folder")
    make_folder(out)
    with _alone(out), stop_between_frames() as stop:
        remove_parts(out)
        outcomes = {v.name: Outcome(summary) for v in videos if (summary := read_finished(out / v.name))}
        for video in (video for video in videos if video.name in outcomes):
            _check_same(video, outcomes[video.name].summary or {}, out)
        _keep_settings(out, asked, wanted, bool(outcomes))
        todo = [video for video in videos if video.name not in outcomes]
        todo.sort(key=lambda video: video.count_bytes(), reverse=True)
        if outcomes:
            note(f"{len(outcomes)} of {len(videos)} videos were done before")
        frames = 0
        with RunProgress(listing.name) as progress:
            for video, outcome in engine.run(todo, Work(out, asked, wanted), stop) if todo else ():
                outcomes[video.name] = outcome
                for warning in outcome.warnings:
                    note(f"warning: {video.name}: {warning}", "yellow")
                if outcome.error:
                    note(f"{video.name}: {outcome.error}", "red")
                frames += (outcome.summary or {}).get("frames", 0)
                told = f"{len(outcomes)}/{len(videos)} videos"
                progress.show(len(outcomes), len(videos), f"{frames} frames", f"{listing.name}: {told}")
        remove_parts(out)
        _tell(out / TABLE, videos, outcomes)
    if stop:
        raise Interrupted(stop.number)
    if failed := sum(bool(outcome.error) for outcome in outcomes.values()):
        raise StremnError(f"{failed} of {len(videos)} videos failed: mend them, and give the command again")


def _absolute(path: Any) -> Any:
    file = Path(path or "").expanduser()
    return str(file.absolute()) if file.is_file() else path


def _check(asked: options.SessionOptions) -> None:
    """Open a session as a worker will, but where there may be another device.

    Raises:
        StremnError: rather now than of each video.
    """
    replace(asked, device="cpu").segmentation_session()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Within the context no other run may write to the folder; however this one ends, it is free again."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise StremnError(f"another run writes to {out}: wait for it, or choose another folder") from error


def _check_same(video: "CorpusVideo", summary: Mapping[str, Any], out: Path) -> None:
    """Refuse what was done under the name of a video, but of another one or with other masks.

    Raises:
        StremnError: if it was not.
    """
    from stremn.files import without_password

    settings = summary.get("settings", {})
    for was, now in ((settings.get("source"), video.source), (settings.get("masks"), str(video.masks))):
        if was is not None and os.path.realpath(was) != os.path.realpath(without_password(now)):
            raise StremnError(
                f"{out / video.name} was made of {was}, not {now}: give the video another name, or remove "
                "that folder"
            )


def _keep_settings(
    out: Path, asked: options.SessionOptions, wanted: options.ExportOptions, begun: bool
) -> None:
    """Write down the settings, or see to it that they are those of the videos that were done before.

    Raises:
        StremnError: if they are not.
    """
    from stremn.files.outputs import write_json

    mine = {name: value for name, value in {**vars(asked), **vars(wanted)}.items() if name != "device"}
    if (weights := Path(asked.model)).is_file():
        mine[_WEIGHTS] = hashlib.sha256(weights.read_bytes()).hexdigest()
    theirs: dict[str, Any] = {}
    if (out / SETTINGS).exists() or (out / TABLE).exists():
        with suppress(OSError, ValueError):
            theirs = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
        if not isinstance(theirs, dict) or "model" not in theirs:
            raise StremnError(f"{out} holds a {SETTINGS} or {TABLE} of something else: choose another folder")
    if begun and theirs.get(_WEIGHTS, mine.get(_WEIGHTS)) != mine.get(_WEIGHTS):
        raise StremnError(
            f"{out} was begun with other weights than {asked.model} holds: choose another folder"
        )
    for name, value in mine.items():
        if begun and theirs.get(name, value) != value:
            option = f"--{name.replace('_', '-')}"
            how = f"with {option} {theirs[name]}" if theirs[name] else f"without {option}"
            raise StremnError(f"{out} was begun {how}: do the same now, or choose another folder")
    write_json(out / SETTINGS, mine)


def _tell(path: Path, videos: Sequence["CorpusVideo"], outcomes: Mapping[str, Outcome]) -> None:
    """One table of all videos, as a file and printed."""
    from stremn.files.writers import TableWriter

    view = new_table(("video", "result"), _COLUMNS)
    done, frames = 0, 0
    with TableWriter(path, ("video", "result", *_COLUMNS, "error")) as table:
        for video in videos:
            outcome = outcomes.get(video.name)
            result = "not done" if outcome is None else "failed" if outcome.error else "done"
            figures = _figures(outcome.summary) if outcome and outcome.summary else [""] * len(_COLUMNS)
            error = outcome.error if outcome else ""
            table.write(video.name, result, *figures, error)
            view.add_row(video.name, error or result, *map(str, figures))
            done, frames = done + (result == "done"), frames + int(str(figures[0] or 0))
    show(view)
    say(f"{done} of {len(videos)} videos done, {frames} frames; see {path}")


def _figures(summary: Mapping[str, Any]) -> list[object]:
    objects = summary["objects"].values()
    seen = sum(each["frames"] for each in objects)
    confidence = sum(each["frames"] * each["mean_confidence"] for each in objects) / max(seen, 1)
    return [
        summary["frames"],
        len(objects),
        sum(each["frames_lost"] for each in objects),
        round(confidence, 4),
        summary["seconds"],
        summary["frames_per_second"],
    ]
