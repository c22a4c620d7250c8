"""``stremn predict``: watch a video, foresee what comes, and compare it with what came."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.console import FrameProgress, Interrupted, Stop, say, stop_between_frames
from stremn.errors import StremnError

if TYPE_CHECKING:
    import numpy as np

    from stremn.files import Frame, FrameSource, PredictionFolder
    from stremn.files.drawing import StripColumn
    from stremn.sessions import PredictionSession

__all__ = ["Asked", "predict", "predict_source"]

FIGURES = ("mse_pixel", "psnr", "ssim")
SSIM_SIDE = 11
STRIP_COLUMNS = 8


@dataclass(frozen=True)
class Asked:
    """What is to be observed and predicted.

    Attributes:
        observe: M, frames to observe.
        horizon: N, frames to predict.
        start: index of the first frame to observe.
        grey: reduce the video to grey.

    Raises:
        StremnError: naming the option that cannot be.
    """

    observe: int
    horizon: int
    start: int = 0
    grey: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, value in (("observe", self.observe), ("horizon", self.horizon)):
            if value < 1:
                raise StremnError(f"--{name} {value} is too few: give 1 frame or more")
        if self.start < 0:
            raise StremnError(f"--start {self.start} is before the video: its first frame is 0")


def predict(
    source: Annotated[str, typer.Argument(help="Video file, folder of frames, or camera:0.")],
    observe: Annotated[int, typer.Option(help="M, how many frames are observed.")],
    horizon: Annotated[int, typer.Option(help="N, how many frames are predicted.")],
    out: Annotated[Path, typer.Option(help="Folder for frames/, side-by-side.mp4, strip.png, summary.json.")],
    model: options.Model = options.PREDICTOR,
    start: Annotated[int, typer.Option(help="Index of the first frame that is observed.")] = 0,
    size: options.Size = None,
    grey: Annotated[bool, typer.Option("--grey", help="Reduce the video to grey.")] = False,
    slots: Annotated[int | None, typer.Option(help="K, slots of memory.")] = None,
    policy: options.Policy = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Predict the frames that follow the observed ones, and compare them with the video's own."""
    from stremn.files import PredictionFolder, open_source, write_json
    from stremn.sessions import PredictionSession

    asked = Asked(observe, horizon, start, grey)
    options.check_size(size)
    with open_source(source) as frames, stop_between_frames() as stop:
        folder = PredictionFolder(out, overwrite, inputs=(source,))
        session = PredictionSession(
            model, policy=policy, slots=slots, size=size, device=device, precision=precision
        )
        summary = predict_source(frames, folder, session, asked, stop)
        summary["settings"] = {"source": source, "model": model} | _settings(session, asked)
        write_json(folder.path / "summary.json", summary)
    say(f"{summary['frames']} frames predicted{_verdict(summary['means'])}; see {folder.path}")
    if stop:
        raise Interrupted(stop.number)


def predict_source(
    frames: FrameSource,
    folder: PredictionFolder,
    session: PredictionSession,
    asked: Asked,
    stop: Stop,
) -> dict[str, Any]:
    """Observe, then predict, compare and write frame by frame; no more than a few frames are held.

    Args:
        frames: the video.
        folder: prepared only when the first frame was predicted.
        session: fresh. If its model is for grey frames, the video is reduced to grey.
        asked: what is to be done.
        stop: asked before each frame; once it is true the run ends as if fewer frames had been asked for.

    Returns:
        What ``summary.json`` says of the run.

    Raises:
        StremnError: on input that cannot be used, or a full disk.
        Interrupted: if it is to stop before a frame was predicted.
    """
    from PIL import Image

    from stremn.files import VideoWriter, write_png
    from stremn.files.drawing import film_strip, side_by_side
    from stremn.provenance import peak_memory_bytes, versions

    video = _Video(frames, asked.grey or session.model.config.channels == 1)
    outcome = _Outcome(_spread(asked.horizon, STRIP_COLUMNS))
    total = asked.start + asked.observe + asked.horizon
    with (
        VideoWriter(folder.path / "side-by-side.mp4", frames.frame_rate) as writer,
        FrameProgress(frames.name, total) as progress,
    ):
        last = _observe(video, session, asked, progress, stop, outcome)
        rollout = session.rollout()
        for ahead in range(1, asked.horizon + 1):
            if stop and outcome.figures:
                break
            began = time.perf_counter()
            prediction = next(rollout)
            outcome.predict_seconds.append(time.perf_counter() - began)
            truth = video.at(last.index + ahead)
            if not outcome.figures:
                folder.prepare()
                alone = truth is None and video.ended
            write_png(folder.picture(f"{last.index + ahead:05d}"), Image.fromarray(prediction))
            writer.write(side_by_side(prediction, truth, ahead=ahead, alone=alone))
            outcome.add(last, ahead, prediction, truth)
            progress.advance()
    write_png(folder.path / "strip.png", Image.fromarray(film_strip(outcome.columns)))
    first = last.index + 1
    return {
        "frames": len(outcome.figures),
        "observed_frames": {"first": asked.start, "last": last.index},
        "predicted_frames": {"first": first, "last": last.index + len(outcome.figures)},
        "lost_frames": frames.lost_frames,
        "interrupted": bool(stop),
        "means": outcome.means("prediction"),
        "means_of_copying_the_last_frame": outcome.means("copy_last"),
        "by_frame": outcome.figures,
        "seconds": round(progress.seconds, 3),
        "seconds_per_step": outcome.seconds_per_step(),
        "state_bytes": session.state_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions(),
    }


class _Video:
    """The frames of a source, asked for in growing order; grey ones are ``(H, W)``."""

    def __init__(self, frames: FrameSource, grey: bool) -> None:
        self.frames, self.grey, self.ended = frames, grey, False
        self._stream = iter(frames)
        self._next: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._take()) is not None:
            yield frame

    def at(self, index: int) -> np.ndarray | None:
        """The frame of an index; ``None`` where it was lost, and beyond the end."""
        while self._next is None or self._next.index < index:
            self._next = self._take()
            if self._next is None:
                return None
        return self._next.image if self._next.index == index else None

    def _take(self) -> Frame | None:
        frame = next(self._stream, None)
        if frame is None:
            self.ended = True
        elif self.grey:
            import cv2

            return replace(frame, image=cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY))
        return frame


@dataclass
class _Outcome:
    """What is kept of a run: numbers, and the frames of the film strip.

    Attributes:
        places: how far ahead the columns of the strip are.
    """

    places: tuple[int, ...]
    columns: list[StripColumn] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    observe_seconds: list[float] = field(default_factory=list)
    predict_seconds: list[float] = field(default_factory=list)

    def add(self, last: Frame, ahead: int, prediction: np.ndarray, truth: np.ndarray | None) -> None:
        """Take in a predicted frame; ``last`` is the last observed one."""
        from stremn.files.drawing import StripColumn

        shown = {"prediction": prediction, "copy_last": last.image}
        scores = {name: None if truth is None else _score(image, truth) for name, image in shown.items()}
        self.figures.append({"frame_index": last.index + ahead, "ahead": ahead} | scores)
        if ahead in self.places:
            self.columns.append(StripColumn(ahead, prediction, truth))

    def means(self, kind: str) -> dict[str, float] | None:
        """Over the predicted frames that have a truth; ``None`` if none has."""
        known = [frame[kind] for frame in self.figures if frame[kind] is not None]
        return {name: sum(s[name] for s in known) / len(known) for name in known[0]} if known else None

    def seconds_per_step(self) -> dict[str, float]:
        """Medians, which the first step of a cold process does not move."""
        parts = {"observe": self.observe_seconds, "predict": self.predict_seconds}
        return {name: round(statistics.median(values), 6) for name, values in parts.items()}


def _observe(
    video: _Video,
    session: PredictionSession,
    asked: Asked,
    progress: FrameProgress,
    stop: Stop,
    outcome: _Outcome,
) -> Frame:
    """Let the session see the frames that are to be observed; the last of them."""
    for frame in video:
        if stop:
            raise Interrupted(stop.number)
        if frame.index >= asked.start:
            began = time.perf_counter()
            session.observe(frame.image)
            outcome.observe_seconds.append(time.perf_counter() - began)
        progress.advance()
        if len(outcome.observe_seconds) == asked.observe:
            return frame
    raise StremnError(
        f"{video.frames.name} has {len(outcome.observe_seconds)} frames from frame {asked.start} on, of "
        f"{asked.observe} to observe: give a longer video, or a smaller --observe or --start"
    )


def _score(shown: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures of a frame; SSIM where torchmetrics is installed and the frame is not too small."""
    import numpy as np
    import torch

    from stremn.metrics.prediction.scores import score_errors, score_frames

    pair = [torch.from_numpy(np.atleast_3d(f)).permute(2, 0, 1)[None].float() / 255 for f in (shown, truth)]
    similar = min(truth.shape[:2]) >= SSIM_SIDE and importlib.util.find_spec("torchmetrics") is not None
    found = score_frames(*pair) if similar else score_errors(*pair)
    return {name: float(found[name]) for name in FIGURES if name in found}


def _spread(horizon: int, most: int) -> tuple[int, ...]:
    """Evenly spaced moments from 1 to the horizon."""
    count = min(horizon, most)
    return tuple(1 + round(i * (horizon - 1) / max(1, count - 1)) for i in range(count))


def _settings(session: PredictionSession, asked: Asked) -> dict[str, Any]:
    rules = session.rules
    return {
        "observe": asked.observe,
        "horizon": asked.horizon,
        "start": asked.start,
        "grey": session.grey,
        "architecture": session.model.config.architecture,
        "policy": None if rules is None else rules.policy.name,
        "slots": None if rules is None else rules.layout.slots,
        "size": session.settings.size,
        "device": str(session.runtime.device),
        "precision": str(session.runtime.dtype).removeprefix("torch."),
    }


def _verdict(means: dict[str, float] | None) -> str:
    return "" if means is None else f", PSNR {means['psnr']:.2f} dB"
