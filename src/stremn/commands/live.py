"""``stremn live``: follow objects in a camera or stream and watch."""

from __future__ import annotations

import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, note, say, stop_between_frames
from stremn.commands.prompts import ObjectOptions
from stremn.commands.screens import Page, Window

__all__ = ["live"]

_REMEMBERED = 10_000
"""Frames whose latency is known, the last ones: a run may be endless."""


@bundled
def live(
    source: options.Source,
    objects: ObjectOptions,
    asked: options.SessionOptions,
    page: Annotated[
        bool, typer.Option("--page", help="Show it on a page of this machine instead of in a window.")
    ] = False,
    port: Annotated[int, typer.Option(help="Of the page; 0 is a free one.", min=0, max=65535)] = 0,
    json: Annotated[Path | None, typer.Option(help="File for latency, speed and settings.")] = None,
) -> None:
    """Follow objects as they are seen, until Ctrl-C: frames that come meanwhile are dropped, never queued."""
    from stremn.files import newest_frames, open_source, overlay, without_password, write_json

    options.check_records(json)
    # Before PyAV and PyTorch are loaded: with both in the process, OpenCV's window would never open.
    screen = Page(port) if page else Window(without_password(source))
    frames = open_source(source, without=objects.masks)  # which its reader closes
    schedule = objects.open(frames, source)
    latencies: deque[float] = deque(maxlen=_REMEMBERED)
    with (
        stop_between_frames() as stop,
        closing(screen),
        closing(newest_frames(frames, schedule.shows)) as stream,
    ):
        if isinstance(screen, Page):
            note(f"watch at {screen.url}, end with Ctrl-C")
        from stremn.sessions import SegmentationSession

        frame, _ = next(stream)
        given = schedule.at(frame)
        session = SegmentationSession(asked.model, asked.segmentation())
        screen.show(overlay(frame.image, session.step(frame.image, given).labels))
        first = last = frame.index
        with FrameProgress(frames.name, None) as progress:
            for frame, captured in stream:
                given = schedule.at(frame)
                given = given if given is not None and given.any() else None
                labels = session.step(frame.image, given, frame_index=frame.index).labels
                if not screen.show(overlay(frame.image, labels)) or stop:
                    break
                latencies.append(time.monotonic() - captured)
                last = frame.index
                progress.advance()
    summary = _summary(latencies, progress, last - first)
    say(
        f"{summary['frames']} frames shown, {summary['dropped']:.0%} dropped; from capture to screen "
        f"{summary['latency_ms']['median']:.0f} ms, 95 % within {summary['latency_ms']['p95']:.0f} ms"
    )
    if json is not None:
        settings = {"source": without_password(source)} | objects.describe()
        write_json(json, summary | {"settings": settings | asked.describe_segmentation(session)})


def _summary(latencies: deque[float], progress: FrameProgress, came: int) -> dict[str, Any]:
    """Figures of all frames after the first, which waited for the model."""
    import numpy as np

    median, p95 = np.percentile(latencies or [0.0], [50, 95]) * 1000
    return {
        "frames": progress.count,
        "dropped": round(1 - progress.count / came, 4) if came else 0.0,
        "frames_per_second": round(progress.rate, 2),
        "latency_ms": {"median": round(median, 1), "p95": round(p95, 1)},
    }
