"""``stremn export``: a finished run in the formats of other tools."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, Interrupted, say, stop_between_frames
from stremn.errors import StremnError

__all__ = ["export"]

log = logging.getLogger("stremn")

_REMEDY = "give the video of the run with --source"


@partial(bundled, without={"export"})
def export(
    result: Annotated[Path, typer.Argument(help="Folder that stremn segment wrote to.")],
    formats: Annotated[
        list[str], typer.Argument(help="One or more: " + ", ".join(options.EXPORT_NAMES) + ".")
    ],
    wanted: options.ExportOptions,
    source: Annotated[
        str | None, typer.Option(help="The video of the run, where it is not at its old place any more.")
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Export the masks of a finished run for other tools."""
    from stremn.files import SegmentationFolder, open_source
    from stremn.files.masks import read_ids
    from stremn.files.names import some_of

    wanted = replace(wanted, export=formats)
    source = source or _source_of(result)
    with open_source(source) as frames, stop_between_frames() as stop:
        folder = SegmentationFolder(result, overwrite=True, inputs=(source, wanted.behind or source))
        for picture in sorted((folder.path / folder.pictures).glob("*.png")):
            read_ids(picture)  # one that cannot be read is told before anything is replaced
        with (
            wanted.open(folder.path / "exports", frames, overwrite) as exports,
            FrameProgress(frames.name, frames.frame_count) as progress,
        ):
            left_out: list[str] = []
            for frame in frames:
                if stop:
                    break
                # A run may have begun later, and one that was interrupted has no masks of the rest.
                if not folder.picture(frame.name).is_file():
                    left_out += [frame.name] * bool(progress.count)
                else:
                    if left_out:
                        log.warning("%s has no mask of frame %s: left out", result, some_of(left_out, 3))
                        left_out = []
                    labels = read_ids(folder.picture(frame.name))
                    if labels.shape != frame.image.shape[:2]:
                        picture = folder.picture(frame.name)
                        raise StremnError(f"{picture} is not of the size of its frame: {_REMEDY}")
                    exports.write(frame.image, labels, index=frame.index, name=frame.name)
                    progress.advance()
                del frame
    if not progress.count:
        raise StremnError(f"{result} has no mask of a frame of {frames.name}: {_REMEDY}")
    say(f"{progress.count} frames; see {folder.path / 'exports'}")
    if stop:
        raise Interrupted(stop.number)


def _source_of(result: Path) -> str:
    """The video that a run read.

    Raises:
        StremnError: if its summary cannot be read.
    """
    path = result / "summary.json"
    try:
        return str(json.loads(path.read_bytes())["settings"]["source"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StremnError(
            f"{path} does not say which video was segmented: give the folder of a run, or --source"
        ) from error
