"""``stremn segment``: a video and a mask in, masks and an overlay out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, Interrupted, Stop, say, stop_between_frames
from stremn.commands.prompts import ObjectOptions

if TYPE_CHECKING:
    import numpy as np

    from stremn.exports import Exports
    from stremn.files import Frame, FrameSource, MaskSchedule, SegmentationFolder
    from stremn.prompts import PromptSchedule

__all__ = ["segment", "segment_source"]


@bundled
def segment(
    source: options.Source,
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlay.mp4, memory.png, summary.json.")],
    objects: ObjectOptions,
    asked: options.SessionOptions,
    wanted: options.ExportOptions,
    overwrite: options.Overwrite = False,
) -> None:
    """Follow objects through a video: those of masks, or those that boxes, points or outlines show."""
    from stremn.files import SegmentationFolder, open_source, without_password, write_json

    with open_source(source, without=objects.masks) as frames, stop_between_frames() as stop:
        schedule = objects.open(frames, source)
        inputs = [given for given in (source, objects.masks, wanted.behind) if given is not None]
        folder = SegmentationFolder(out, overwrite, inputs=inputs)
        exports = wanted.open(folder.path / "exports", frames, overwrite)
        summary = segment_source(frames, schedule, folder, asked, stop, exports)
        if not stop:
            schedule.tell_unused()
        given = {"source": without_password(source)} | objects.describe()
        summary["settings"] = given | summary["settings"]
        write_json(folder.path / "summary.json", summary)
    say(f"{summary['frames']} frames, {summary['frames_per_second']} frames/s; see {folder.path}")
    if stop:
        raise Interrupted(stop.number)


def segment_source(
    frames: FrameSource,
    masks: MaskSchedule | PromptSchedule,
    folder: SegmentationFolder,
    asked: options.SessionOptions,
    stop: Stop,
    exports: Exports | None = None,
) -> dict[str, Any]:
    """Read, compute and write frame by frame; nothing of the past is kept but the session's state.

    Args:
        frames: the video.
        masks: the objects to follow.
        folder: prepared only when the first frame and its mask were read and segmented.
        asked: opened as a session when the first frame and its mask were read.
        stop: asked before each frame; once it is true the run ends as if the video ended there.
        exports: written frame by frame too.

    Returns:
        What ``summary.json`` says of the run.

    Raises:
        StremnError: on input that cannot be used, or a full disk.
    """
    from stremn.exports import clear_exports
    from stremn.files import VideoWriter, overlay, write_mask
    from stremn.memory import MemoryHistory
    from stremn.provenance import peak_memory_bytes, versions
    from stremn.sessions import SegmentationSession

    history = MemoryHistory()
    seen: set[int] = set()
    stream = _with_masks(frames, masks)
    stream = chain((next(stream),), stream)
    session = SegmentationSession(asked.model, asked.segmentation())
    with (
        VideoWriter(folder.path / "overlay.mp4", frames.frame_rate, frames.pixel_aspect) as video,
        exports or nullcontext() as exports,
        FrameProgress(frames.name, frames.frame_count) as progress,
    ):
        for frame, given in stream:
            if stop and progress.count:
                break
            objects = given if given is not None and given.any() else None
            result = session.step(frame.image, objects, frame_index=frame.index)
            if progress.count == 0:
                folder.prepare()
                clear_exports(folder.path / "exports")
            write_mask(folder.picture(frame.name), result.labels)
            video.write(overlay(frame.image, result.labels))
            if exports is not None:
                exports.write(frame.image, result.labels, index=frame.index, name=frame.name)
            history.add(result.frame_index, session.frames_in_memory())
            seen.update(result.object_ids)
            progress.advance()
            # Or this frame would live on while the next one is decoded.
            del frame, given, objects
    from stremn.tables.plots import plot_memory

    plot_memory(history, folder.path / "memory.png")
    return {
        "frames": progress.count,
        "lost_frames": frames.lost_frames,
        "interrupted": bool(stop),
        "object_ids": sorted(seen),
        "seconds": round(progress.seconds, 3),
        "frames_per_second": round(progress.rate, 2),
        "state_bytes": session.state_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions(),
        "settings": asked.describe_segmentation(session),
    }


def _with_masks(
    frames: FrameSource, masks: MaskSchedule | PromptSchedule
) -> Iterator[tuple[Frame, np.ndarray | None]]:
    for frame in frames:
        yield frame, masks.at(frame)
        del frame
