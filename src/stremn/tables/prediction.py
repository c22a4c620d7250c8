"""Table 5 and the ablations of prediction: sessions over the clips of a test, one clip after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stremn.files.tensors import tensors_digest
from stremn.metrics.prediction.frames import Lpips
from stremn.metrics.prediction.scores import PredictionScorer, PredictionScores
from stremn.models import Predictor
from stremn.sessions import PredictionSession
from stremn.sessions.settings import PredictionSettings
from stremn.tables.baselines import BASELINES
from stremn.tables.clips import TestClips
from stremn.tables.engine import Line, Row, Trial
from stremn.tables.store import Result

__all__ = ["ClipsPart", "PredictClips", "baseline_rows", "least_gain", "parts_of", "predict_clip"]

PART = 100
"""Clips that are kept as one result, and lost at most for each trial when a table is interrupted."""


@dataclass(frozen=True)
class ClipsPart:
    """Some clips of a test, by their numbers, as an item of a table; ``lpips`` is that figure's network."""

    test: TestClips
    numbers: tuple[int, ...]
    lpips: Lpips | None = field(repr=False)
    facts: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """First and last clip."""
        return f"clips {self.numbers[0]} to {self.numbers[-1]}"

    @property
    def frames(self) -> int:
        """How many are predicted."""
        return len(self.numbers) * self.test.protocol.horizon


def parts_of(test: TestClips, lpips: Lpips | None = None) -> list[ClipsPart]:
    """The clips of a test, part by part."""
    digest = None if lpips is None else tensors_digest(lpips.network.state_dict())
    numbers = [test.numbers[first : first + PART] for first in range(0, len(test.numbers), PART)]
    return [
        ClipsPart(test, part, lpips, {"clips": test.facts, "numbers": part, "lpips": digest})
        for part in numbers
    ]


OnClip = Callable[[Trial[PredictionSettings], int, np.ndarray, np.ndarray, PredictionScores], object]


class PredictClips:
    """Runs trials over parts of the clips, each of which is read once for all of them.

    A clip is a video of its own for a session, as people use it: frames of 8 bits in and out, and predictions
    are scored as they come out. A policy that draws random numbers draws others in every clip.

    Args:
        models: by the digest of their weights.
        on_frames: called with a number of frames that were predicted.
        on_clip: called with the trial, the number of a clip, its frames, those predicted, and their scores.
    """

    def __init__(
        self,
        models: Mapping[str, Predictor],
        on_frames: Callable[[int], None] = lambda count: None,
        on_clip: OnClip = lambda *clip: None,
    ) -> None:
        self.models, self.on_frames, self.on_clip = dict(models), on_frames, on_clip

    def __call__(
        self, part: ClipsPart, trials: Sequence[Trial[PredictionSettings]]
    ) -> Iterator[tuple[Trial[PredictionSettings], Result[PredictionScores]]]:
        """The result of each trial on a part, see :func:`stremn.tables.engine.run`."""
        protocol = part.test.protocol
        clips = [(number, part.test.read(number)) for number in part.numbers]
        for trial in trials:
            ages: list[int] = []
            scores = []
            for number, clip in clips:
                found, old = self._predict(trial, number, clip, protocol.observe)
                ages += old if trial.settings.readout else []
                scorer = PredictionScorer(conventions=protocol.conventions, lpips=part.lpips)
                scorer.add(_tensor(found), _tensor(clip[protocol.observe :]))
                scores.append(scorer.result())
                self.on_frames(len(found))
                self.on_clip(trial, number, clip, found, scores[-1])
            counted = tuple(np.bincount(np.array(ages, int)).tolist())
            settings, score = trial.settings.to_dict(), PredictionScores.merged(scores)
            psnr = [round(each["psnr"], 4) for each in scores]
            yield trial, Result(part.name, settings, part.frames, score, counted, {"psnr": psnr})

    def _predict(
        self, trial: Trial[PredictionSettings], number: int, clip: np.ndarray, observe: int
    ) -> tuple[np.ndarray, list[int]]:
        horizon = len(clip) - observe
        if trial.baseline:
            return BASELINES[trial.baseline](clip[:observe], horizon), []
        if trial.draws:
            trial = trial.changed(seed=trial.settings.seed * 2**20 + number)
        session = PredictionSession(self.models[trial.weights], trial.settings)
        # One copy of the weights, made ready to compute, serves all sessions.
        self.models[trial.weights] = session.model
        return predict_clip(session, clip[:observe], horizon)


def predict_clip(
    session: PredictionSession, observed: Sequence[np.ndarray] | np.ndarray, horizon: int
) -> tuple[np.ndarray, list[int]]:
    """Let a fresh session observe some frames and foresee those that follow.

    Args:
        session: has seen nothing yet.
        observed: M frames as :meth:`~stremn.sessions.PredictionSession.observe` takes them.
        horizon: N, at least 1.

    Returns:
        The N frames, and the ages in frames of all templates that they were read from, d^K[t] of Sec. 4.3. A
        frame is looked up in what the memory holds before the frame itself is written (Fig. 1).
    """
    for frame in observed[:-1]:
        session.observe(frame)
    ages = _ages(session.frames_in_memory(), len(observed) - 1)
    session.observe(observed[-1])
    rollout = session.rollout()
    found = [next(rollout)]
    for index in range(len(observed), len(observed) + horizon - 1):
        ages += _ages(rollout.frames_in_memory(), index)
        found.append(next(rollout))
    return np.stack(found), ages


def baseline_rows() -> list[Row[PredictionSettings]]:
    """A row for each of :data:`stremn.tables.baselines.BASELINES`, what any model must beat."""
    return [Row(name, (Trial("", PredictionSettings(size=0), name),)) for name in BASELINES]


def least_gain(line: Line[PredictionScores], baseline: Line[PredictionScores]) -> float:
    """How far a row is ahead of another in the clip where it is the least ahead, or the most behind.

    Args:
        line: the row; of seeds their mean counts.
        baseline: a row of the same clips.

    Returns:
        A difference of PSNR in dB.
    """
    ours, theirs = (
        np.mean([np.concatenate([part.details["psnr"] for part in run]) for run in each.results], axis=0)
        for each in (line, baseline)
    )
    return float((ours - theirs).min())


def _ages(held: Sequence[int], frame_index: int) -> list[int]:
    return [frame_index - index for index in held if index >= 0]


def _tensor(frames: np.ndarray) -> Tensor:
    """Frames ``(N, h, w)`` or ``(N, h, w, 3)`` uint8 as one sequence ``(1, N, C, h, w)`` in [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).reshape(*frames.shape[:3], -1)
    return pixels.permute(0, 3, 1, 2)[None].float() / 255
