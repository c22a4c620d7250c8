"""``stremn predict``: watch a video, foresee what comes, and compare it with what came."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import FrameProgress, Interrupted, Stop, say, stop_between_frames
from stremn.errors import StremnError

if TYPE_CHECKING:
    import numpy as np

    from stremn.files import Frame, FrameSource, PredictionFolder
    from stremn.sessions import PredictionSession
    from stremn.sessions.prediction import Rollout

__all__ = ["Asked", "predict", "predict_source"]

FIGURES = ("mse_pixel", "psnr", "ssim")
SSIM_SIDE = 11
STRIP_COLUMNS = 8


@dataclass(frozen=True)
class Asked:
    """What is to be observed and predicted.

    Raises:
        StremnError: naming the option that cannot be.
    """

    observe: Annotated[int, typer.Option(help="M, how many frames are observed.")]
    horizon: Annotated[int, typer.Option(help="N, how many frames are predicted.")]
    start: Annotated[int, typer.Option(help="Index of the first frame that is observed.")] = 0
    grey: Annotated[bool, typer.Option("--grey", help="Reduce the video to grey.")] = False

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, value in (("observe", self.observe), ("horizon", self.horizon)):
            if value < 1:
                raise StremnError(f"--{name} {value} is too few: give 1 frame or more")
        if self.start < 0:
            raise StremnError(f"--start {self.start} is before the video: its first frame is 0")


@partial(
    bundled,
    without=("candidate_every", "seed", "multi_scale", "postprocess"),
    model=options.PREDICTOR,
)
def predict(
    source: options.Source,
    out: Annotated[Path, typer.Option(help="Folder for frames/, side-by-side.mp4, strip.png, summary.json.")],
    asked: Asked,
    chosen: options.SessionOptions,
    overwrite: options.Overwrite = False,
) -> None:
    """Predict the frames that follow the observed ones, and compare them with the video's own."""
    from stremn.files import PredictionFolder, open_source, without_password, write_json
    from stremn.sessions import PredictionSession

    with open_source(source) as frames, stop_between_frames() as stop:
        folder = PredictionFolder(out, overwrite, inputs=(source,))
        session = PredictionSession(chosen.model, chosen.prediction(chosen.size))
        summary = predict_source(frames, folder, session, asked, stop)
        settings = vars(asked) | {"grey": session.grey, "architecture": session.model.config.architecture}
        summary["settings"] = {"source": without_password(source)} | settings | chosen.describe(session)
        write_json(folder.path / "summary.json", summary)
    means = summary["means"]
    verdict = "" if means is None else f", PSNR {means['psnr']:.2f} dB"
    say(f"{summary['frames']} frames predicted{verdict}; see {folder.path}")
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
    from stremn.files.drawing import StripColumn, film_strip, side_by_side
    from stremn.provenance import peak_memory_bytes, versions

    stream = _in_grey(frames) if asked.grey or session.model.config.channels == 1 else iter(frames)
    places = _spread(asked.horizon, STRIP_COLUMNS)
    columns: list[StripColumn] = []
    figures: list[dict[str, Any]] = []
    seconds: dict[str, list[float]] = {"observe": [], "predict": []}
    alone = False
    with (
        VideoWriter(folder.path / "side-by-side.mp4", frames.frame_rate) as writer,
        FrameProgress(frames.name, asked.start + asked.observe + asked.horizon) as progress,
    ):
        last = _observe(stream, session, asked, progress, stop, seconds["observe"])
        rollout, truths = session.rollout(), _truths(stream, last.index + 1)
        for ahead in range(1, asked.horizon + 1):
            if stop and figures:
                break
            began = time.perf_counter()
            prediction = next(rollout)
            seconds["predict"].append(time.perf_counter() - began)
            truth, more = next(truths, (None, False))
            if not figures:
                folder.prepare()
                alone = not more
            index = last.index + ahead
            write_png(folder.picture(f"{index:05d}"), Image.fromarray(prediction))
            writer.write(side_by_side(prediction, truth, ahead=ahead, alone=alone))
            figures.append(
                {
                    "frame_index": index,
                    "ahead": ahead,
                    "prediction": None if truth is None else _score(prediction, truth),
                    "copy_last": None if truth is None else _score(last.image, truth),
                }
            )
            if ahead in places:
                columns.append(StripColumn(ahead, prediction, truth, _explained(rollout, prediction)))
            progress.advance()
    write_png(folder.path / "strip.png", Image.fromarray(film_strip(columns)))
    return {
        "frames": len(figures),
        "observed_frames": {"first": asked.start, "last": last.index},
        "predicted_frames": {"first": last.index + 1, "last": last.index + len(figures)},
        "lost_frames": frames.lost_frames,
        "interrupted": bool(stop),
        "means": _means(figures, "prediction"),
        "means_of_copying_the_last_frame": _means(figures, "copy_last"),
        "by_frame": figures,
        "seconds": round(progress.seconds, 3),
        # Medians, which the first step of a cold process does not move.
        "seconds_per_step": {name: round(statistics.median(each), 6) for name, each in seconds.items()},
        "state_bytes": session.state_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": versions(),
    }


def _in_grey(frames: FrameSource) -> Iterator[Frame]:
    """The same frames as ``(H, W)``."""
    import cv2

    for frame in frames:
        yield replace(frame, image=cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY))


def _observe(
    stream: Iterator[Frame],
    session: PredictionSession,
    asked: Asked,
    progress: FrameProgress,
    stop: Stop,
    seconds: list[float],
) -> Frame:
    """Let the session see the frames that are to be observed; the last of them."""
    for frame in stream:
        if stop:
            raise Interrupted(stop.number)
        if frame.index >= asked.start:
            began = time.perf_counter()
            session.observe(frame.image)
            seconds.append(time.perf_counter() - began)
        progress.advance()
        if len(seconds) == asked.observe:
            return frame
    raise StremnError(
        f"{progress.label} has {len(seconds)} frames from frame {asked.start} on, of {asked.observe} to "
        "observe: give a longer video, or a smaller --observe or --start"
    )


def _truths(stream: Iterator[Frame], index: int) -> Iterator[tuple[np.ndarray | None, bool]]:
    """For every index from this one on the image, ``None`` where it was lost, and that there is more."""
    for frame in stream:
        for _ in range(index, frame.index):
            yield None, True
        yield frame.image, True
        index = frame.index + 1


def _score(shown: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures of a frame; SSIM where torchmetrics is installed and the frame is not too small."""
    import numpy as np
    import torch

    from stremn.metrics.prediction.scores import score_errors, score_frames

    pair = [torch.from_numpy(np.atleast_3d(f)).permute(2, 0, 1)[None].float() / 255 for f in (shown, truth)]
    similar = min(truth.shape[:2]) >= SSIM_SIDE and importlib.util.find_spec("torchmetrics") is not None
    found = score_frames(*pair) if similar else score_errors(*pair)
    return {name: float(found[name]) for name in FIGURES if name in found}


def _explained(rollout: Rollout, picture: np.ndarray) -> dict[str, np.ndarray]:
    """Pictures of where the last frame was read from, of a model that reads observed frames."""
    from stremn.files.drawing import displacement_picture, source_picture

    found = rollout.read_from()
    if found is None:
        return {}
    return {"displacement": displacement_picture(found[0]), "read from": source_picture(picture, found[1])}


def _means(figures: list[dict[str, Any]], kind: str) -> dict[str, float] | None:
    """Over the predicted frames that have a truth; ``None`` if none has."""
    known = [frame[kind] for frame in figures if frame[kind] is not None]
    return {name: sum(s[name] for s in known) / len(known) for name in known[0]} if known else None


def _spread(horizon: int, most: int) -> tuple[int, ...]:
    """Evenly spaced moments from 1 to the horizon."""
    count = min(horizon, most)
    return tuple(1 + round(i * (horizon - 1) / max(1, count - 1)) for i in range(count))
