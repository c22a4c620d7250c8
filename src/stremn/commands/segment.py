"""``stremn segment``: a video and a mask in, masks and an overlay out."""

import functools
import platform
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from stremn import __version__
from stremn.commands import options
from stremn.commands.console import FrameProgress, Interrupted, Stop, stop_between_frames
from stremn.files import (
    Frame,
    FrameSource,
    MaskSchedule,
    SegmentationFolder,
    VideoWriter,
    open_masks,
    open_source,
    overlay,
    write_json,
    write_mask,
)
from stremn.memory import MemoryHistory
from stremn.sessions import SegmentationSession
from stremn.tables.plots import plot_memory

__all__ = ["segment", "segment_source"]


def segment(
    source: Annotated[str, typer.Argument(help="Video file, folder of frames, or camera:0.")],
    masks: Annotated[
        Path,
        typer.Option(help="Mask image of the first frame, or a folder of masks named like the frames."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for masks/, overlay.mp4, memory.png, summary.json.")],
    model: options.Model = "stremn-lite",
    policy: options.Policy = None,
    slots: options.Slots = None,
    size: options.Size = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    candidate_every: options.CandidateEvery = None,
    seed: options.Seed = 0,
    multi_scale: options.MultiScale = False,
    postprocess: options.PostProcess = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Follow the objects of the masks through a video."""
    with open_source(source) as frames, stop_between_frames() as stop:
        schedule = open_masks(masks, frames)
        folder = SegmentationFolder(out, overwrite, inputs=(source, masks))

        @functools.cache
        def session() -> SegmentationSession:
            return options.open_session(
                *(model, policy, slots, size, device, precision, candidate_every, seed),
                multi_scale=multi_scale,
                postprocess=postprocess,
            )

        summary = segment_source(frames, schedule, folder, session, stop)
        summary["settings"] = {"source": source, "masks": str(masks)} | options.describe_session(
            session(), model
        )
        write_json(folder.summary, summary)
    print(f"{summary['frames']} frames, {summary['frames_per_second']} frames/s; see {folder.path}")
    if stop:
        raise Interrupted(stop.number)


def segment_source(
    frames: FrameSource,
    masks: MaskSchedule,
    folder: SegmentationFolder,
    session: SegmentationSession | Callable[[], SegmentationSession],
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Read, compute and write frame by frame; nothing of the past is kept but the session's state.

    Args:
        frames: the video.
        masks: the objects to follow.
        folder: prepared only when the first frame and its mask were read and segmented.
        session: fresh, or what opens one; it is then opened when the first frame and its mask were read.
        stop: asked before each frame; once it is true the run ends as if the video ended there.

    Returns:
        What ``summary.json`` says of the run.

    Raises:
        StremnError: on input that cannot be used, or a full disk.
    """
    history = MemoryHistory()
    seen: set[int] = set()
    stop = Stop() if stop is None else stop
    stream = _with_masks(frames, masks)
    stream = chain((next(stream),), stream)
    session = session if isinstance(session, SegmentationSession) else session()
    with (
        VideoWriter(folder.overlay, frames.frame_rate) as video,
        FrameProgress(frames.name, frames.frame_count) as progress,
    ):
        for frame, given in stream:
            if stop and progress.count:
                break
            result = session.step(frame.image, given if given is not None and given.any() else None)
            if progress.count == 0:
                folder.prepare()
            write_mask(folder.picture(frame.name), result.labels)
            video.write(overlay(frame.image, result.labels))
            history.add(result.frame_index, session.frames_in_memory())
            seen.update(result.object_ids)
            progress.advance()
            # Or this frame would live on while the next one is decoded.
            del frame, given
    plot_memory(history, folder.memory)
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
    }


def _with_masks(frames: FrameSource, masks: MaskSchedule) -> Iterator[tuple[Frame, np.ndarray | None]]:
    for frame in frames:
        yield frame, masks.at(frame)
        del frame


def peak_memory_bytes() -> int | None:
    """Largest resident memory of this process so far; ``None`` on Windows, which does not count it."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Of what a result depends on."""
    return {
        "stremn": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
