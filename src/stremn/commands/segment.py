"""``stremn segment``: a video and a mask in, masks and an overlay out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, Interrupted, Stop, say, stop_between_frames
from stremn.commands.prompts import ObjectOptions
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.exports import Exports
    from stremn.files import Frame, FrameSource, SegmentationFolder
    from stremn.prompts import PromptSchedule
    from stremn.sessions import OnnxSession, SegmentationResult, SegmentationSession

__all__ = ["segment", "segment_video"]

_COLUMNS = ("frame", "name", "object", "pixels", "confidence", "lost")
_MOST_RUNS = 100


@bundled
def segment(
    source: options.Source,
    out: Annotated[
        Path, typer.Option(help="Folder for masks/, overlay.mp4, memory.png, objects.csv, summary.json.")
    ],
    objects: ObjectOptions,
    asked: options.SessionOptions,
    wanted: options.ExportOptions,
    begin: Annotated[
        str, typer.Option("--from", help="Frame to begin with: its number from 0, or its name in a folder.")
    ] = "0",
    both_ways: Annotated[
        bool, typer.Option("--both-ways", help="Follow backward from there to the first frame too.")
    ] = False,
    engine: Annotated[
        str | None, typer.Option(help="torch or onnx; default is onnx for a --model FILE.onnx.")
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Follow objects through a video: those of masks, or those that boxes, points or outlines show."""
    with stop_between_frames() as stop:
        session = partial(asked.segmentation_session, engine)
        summary = segment_video(
            source, out, objects, asked, wanted, session, stop, begin, both_ways, overwrite
        )
    say(f"{summary['frames']} frames, {summary['frames_per_second']} frames/s; see {out.expanduser()}")
    if stop:
        raise Interrupted(stop.number)


def segment_video(
    source: str,
    out: Path,
    objects: ObjectOptions,
    asked: options.SessionOptions,
    wanted: options.ExportOptions,
    session: Callable[[], SegmentationSession | OnnxSession],
    stop: Stop,
    begin: str = "0",
    both_ways: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """All that is done with one video; ``summary.json`` is written last.

    Args:
        source: of the frames.
        out: folder of the results.
        objects: to follow.
        asked: of the session.
        wanted: exports.
        session: opens one as ``asked``, when the first frame and its mask were read.
        stop: asked before each frame; once it is true the run ends as if the video ended there.
        begin: number or name of a frame.
        both_ways: follow backward from there too.
        overwrite: replace earlier results.

    Returns:
        What ``summary.json`` says.

    Raises:
        StremnError: on input that cannot be used, or a full disk.
    """
    from stremn.files import SegmentationFolder, open_source, without_password, write_json

    with open_source(source, without=objects.masks) as frames:
        schedule = objects.open(frames, source)
        first = _frame_index(begin, frames)
        schedule.check(0 if both_ways else first, frames.frame_count, frames.frame_names)
        inputs = [given for given in (source, objects.masks, wanted.behind) if given is not None]
        folder = SegmentationFolder(out, overwrite, inputs=inputs)
        exports = wanted.open(folder.path / "exports", frames, overwrite)
        summary = _follow(frames, schedule, folder, asked, session, stop, exports, first, both_ways)
        if not stop and not both_ways:
            schedule.tell_unused()
        given = {"source": without_password(source)} | objects.describe()
        summary["settings"] = given | summary["settings"]
        write_json(folder.path / "summary.json", summary)
    return summary


def _follow(
    frames: FrameSource,
    masks: PromptSchedule,
    folder: SegmentationFolder,
    asked: options.SessionOptions,
    session: Callable[[], SegmentationSession | OnnxSession],
    stop: Stop,
    exports: Exports,
    begin: int,
    both_ways: bool,
) -> dict[str, Any]:
    """Read, compute and write frame by frame; nothing of the past is kept but the session's state.

    With ``both_ways`` what is before the frame to begin with is followed first, backward, and only its masks
    are written; then the source is read from its beginning, so that all other outputs are in order. The
    folder is prepared only when the first frame and its mask were read and segmented.
    """
    import numpy as np

    from stremn.exports import clear_exports
    from stremn.files import TableWriter, VideoWriter, overlay, write_mask
    from stremn.files.masks import read_ids
    from stremn.memory import MemoryHistory
    from stremn.provenance import peak_memory_bytes, versions

    history, tallies = MemoryHistory(), defaultdict[int, _Tally](_Tally)
    following = _Following(session)
    earlier: dict[int, SegmentationResult] = {}
    total = frames.frame_count
    if total is not None and not both_ways:
        total = max(0, total - begin)
    with (
        VideoWriter(folder.path / "overlay.mp4", frames.frame_rate, frames.pixel_aspect) as video,
        TableWriter(folder.path / "objects.csv", _COLUMNS) as table,
        exports,
        FrameProgress(frames.name, total) as progress,
    ):
        if both_ways and begin:
            backward = deepcopy(masks)
            for frame in frames.backward(begin):
                if stop and earlier:
                    break
                result = following.observe(frame, backward, begin - frame.index)
                if frame.index == begin:
                    folder.prepare()
                    clear_exports(folder.path / "exports")
                else:
                    write_mask(folder.picture(frame.name), result.labels)
                    earlier[frame.index] = replace(
                        result, frame_index=frame.index, labels=np.zeros((0, 0), np.uint8), _coarse=None
                    )
                    progress.advance()
                del frame, result
            assert following.session is not None
            following.session.reset()
        for frame in _forward(frames, begin, earlier):
            if frame.index in earlier:
                labels = read_ids(folder.picture(frame.name))
                result = replace(earlier.pop(frame.index), labels=labels)
            else:
                if stop and progress.count:
                    break
                result = following.observe(frame, masks, frame.index)
                if progress.count == 0:
                    folder.prepare()
                    clear_exports(folder.path / "exports")
                write_mask(folder.picture(frame.name), result.labels)
                history.add(result.frame_index, *following.memory())
                progress.advance()
            lost = [i for i in result.object_ids if result.lost[i]]
            video.write(overlay(frame.image, result.labels, lost=lost))
            for i in result.object_ids:
                sure, gone = result.confidence[i], result.lost[i]
                tallies[i].add(frame.index, sure, gone)
                pixels = np.count_nonzero(result.labels == i)
                table.write(frame.index, frame.name, i, pixels, f"{sure:.4f}", int(gone))
            exports.write(frame.image, result.labels, index=frame.index, name=frame.name)
            # Or this frame would live on while the next one is decoded.
            del frame, result
    from stremn.tables.plots import plot_memory

    assert following.session is not None
    plot_memory(history, folder.path / "memory.png")
    return {
        "frames": progress.count,
        "lost_frames": frames.lost_frames,
        "interrupted": bool(stop),
        "object_ids": sorted(tallies),
        "objects": {str(i): tallies[i].describe() for i in sorted(tallies)},
        "seconds": round(progress.seconds, 3),
        "frames_per_second": round(progress.rate, 2),
        "state_bytes": following.session.state_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions(),
        "settings": asked.describe_segmentation(following.session) | {"from": begin, "both_ways": both_ways},
    }


@dataclass
class _Tally:
    """What the summary says of an object."""

    frames: int = 0
    confidence: float = 0.0
    lost: int = 0
    runs: list[list[int]] = field(default_factory=list)
    _last: int = -1

    def add(self, index: int, confidence: float, lost: bool) -> None:
        if lost and self.runs and self.runs[-1][1] == self._last:
            self.runs[-1][1] = index
        elif lost and len(self.runs) < _MOST_RUNS:
            self.runs.append([index, index])
        self._last = index
        self.frames += 1
        self.confidence += confidence
        self.lost += lost

    def describe(self) -> dict[str, Any]:
        mean = round(self.confidence / self.frames, 4)
        return {"frames": self.frames, "mean_confidence": mean, "frames_lost": self.lost, "lost": self.runs}


@dataclass
class _Following:
    """The session of a video, opened when the first frame and its mask were read."""

    open: Callable[[], SegmentationSession | OnnxSession]
    session: SegmentationSession | OnnxSession | None = None

    def observe(self, frame: Frame, masks: PromptSchedule, index: int) -> SegmentationResult:
        """Take a frame; a mask of an object that is followed already corrects it."""
        import numpy as np

        known = () if self.session is None else self.session.object_ids
        result = None
        if self.session is not None and masks.mends(frame, known):
            result = self.session.step(frame.image, frame_index=index)
        given = masks.at(frame, None if result is None else result.labels)
        objects = given if given is not None and given.any() else None
        corrects = objects is not None and bool(np.isin(objects, known).any())
        self.session = self.session or self.open()
        if result is None:
            result = self.session.step(frame.image, None if corrects else objects, frame_index=index)
        return self.session.correct(objects) if corrects else result

    def memory(self) -> tuple[dict[int, list[int]], int]:
        """Frames in memory, and how many of its slots are for corrections."""
        from stremn.sessions import OnnxSession

        assert self.session is not None
        held = self.session.frames_in_memory()
        if isinstance(self.session, OnnxSession):
            return held, 0
        return held, self.session.rules.layout.corrections


def _forward(frames: FrameSource, begin: int, earlier: Collection[int]) -> Iterator[Frame]:
    """The frames from ``begin`` on, and before them those that were followed already."""
    reached = begin == 0
    for frame in frames:
        if frame.index >= begin:
            if not reached and frame.index != begin:
                break
            reached = True
        if frame.index >= begin or frame.index in earlier:
            yield frame
        del frame
    if not reached:
        raise frames.no_frame(begin)


def _frame_index(text: str, frames: FrameSource) -> int:
    names = frames.frame_names or ()
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdecimal() and (not names or int(text) < len(names)):
        return int(text)
    raise StremnError(
        f"--from {text} is no frame of {frames.name}: give its number from 0, or its name in a folder"
    )
