"""Prediction models over the clips of a test: each part of the clips is read once for all of them."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from stremn import __version__
from stremn.files.tensors import tensors_digest
from stremn.memory import Rules
from stremn.metrics.prediction.lpips import Lpips
from stremn.metrics.prediction.scores import PredictionScorer, PredictionScores
from stremn.models import Predictor, PredictorState
from stremn.models.rollout import forecast_clip
from stremn.runtime import Runtime, for_inference
from stremn.tables.clips import TestClips
from stremn.tables.store import ResultStore, key_of

__all__ = [
    "COPY_LAST",
    "PART",
    "Forecast",
    "ForecastSetting",
    "ForecastTrial",
    "frames_to_predict",
    "run_forecasts",
]

COPY_LAST = ""
"""In place of weights: the last observed frame, again and again."""

PART = 100
"""Clips that are kept as one result, and lost at most for each trial when a table is interrupted."""


@dataclass(frozen=True)
class ForecastTrial:
    """All settings of a model that a result depends on.

    Attributes:
        weights: digest of the model's, or :data:`COPY_LAST`.
        policy: of its memory; ``None`` for a model without slots.
        slots: K; ``None`` likewise.
        seed: of policies that draw random numbers.
    """

    weights: str
    policy: str | None = None
    slots: int | None = None
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Forecast:
    """What one trial made of one part of the clips.

    Attributes:
        key: of settings, weights and clips, see :func:`~stremn.tables.store.key_of`.
        part: number of the part, from 0.
        settings: of the trial, to be read by people.
        clips: how many.
        curves: by figure its mean over the clips, for 1, 2, …, N frames ahead.
        ages: how many of the templates that a prediction was read from were ``t`` frames old, by ``t`` (M12).
    """

    key: str
    part: int
    settings: dict[str, Any]
    clips: int
    curves: dict[str, tuple[float, ...]]
    ages: tuple[int, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of :func:`dataclasses.asdict`."""
        curves = {name: tuple(curve) for name, curve in data["curves"].items()}
        return cls(**(data | {"curves": curves, "ages": tuple(data["ages"])}))


@dataclass(frozen=True)
class ForecastSetting:
    """What is the same for all trials.

    Attributes:
        clips: to predict.
        models: by the digest of their weights.
        device: where they run.
        precision: of autocast.
        batch: clips at a time.
        lpips: the network, or none.
    """

    clips: TestClips
    models: Mapping[str, Predictor]
    device: str = "auto"
    precision: str = "auto"
    batch: int = 10
    lpips: Lpips | None = None

    @cached_property
    def runtime(self) -> Runtime:
        """Device and dtype in which the models run here."""
        return Runtime.choose(self.device, self.precision)

    @cached_property
    def parts(self) -> list[tuple[int, ...]]:
        """Numbers of the clips, part by part."""
        numbers = self.clips.numbers
        return [numbers[first : first + PART] for first in range(0, len(numbers), PART)]

    @cached_property
    def _lpips(self) -> str | None:
        return None if self.lpips is None else tensors_digest(self.lpips.network.state_dict())

    def key(self, trial: ForecastTrial, part: int) -> str:
        """Of the trial's result on a part."""
        facts: dict[str, Any] = {"trial": trial.settings(), "clips": self.clips.facts, "part": part}
        facts |= {"numbers": self.parts[part], "lpips": self._lpips, "version": __version__}
        if trial.weights != COPY_LAST:
            dtype = str(self.runtime.dtype).removeprefix("torch.")
            facts |= {"runtime": [self.runtime.device.type, dtype], "batch": self.batch}
        return key_of(facts)


def frames_to_predict(
    setting: ForecastSetting, trials: Iterable[ForecastTrial], store: ResultStore[Forecast]
) -> int:
    """Frames of all trials that are not in the store yet."""
    trials, horizon = list(dict.fromkeys(trials)), setting.clips.protocol.horizon
    return sum(
        horizon * len(numbers) * len(store.missing(_keys(setting, trials, part)))
        for part, numbers in enumerate(setting.parts)
    )


def run_forecasts(
    setting: ForecastSetting,
    trials: Iterable[ForecastTrial],
    store: ResultStore[Forecast],
    on_frames: Callable[[int], None] = lambda count: None,
) -> dict[ForecastTrial, list[Forecast]]:
    """Results of every trial on every part of the clips; what the store has is not run again.

    Args:
        setting: what they have in common.
        trials: the models and their settings.
        store: where results are found and kept.
        on_frames: called with the number of frames that were predicted.

    Raises:
        StremnError: if a file cannot be read or written, or a model has diverged.
    """
    trials = list(dict.fromkeys(trials))
    runs: dict[ForecastTrial, _Run] = {}
    results: dict[ForecastTrial, list[Forecast]] = {trial: [] for trial in trials}
    ready: dict[str, Predictor] = {}
    for part, numbers in enumerate(setting.parts):
        keys = _keys(setting, trials, part)
        missing = store.missing(keys)
        for trial in missing:
            if trial not in runs:
                runs[trial] = _Run(setting, trial, _ready(setting, trial, ready))
        clips = setting.clips.read(numbers) if missing else None
        for trial in missing:
            assert clips is not None
            store.add(runs[trial].predict(clips, part, on_frames))
        for trial, key in keys.items():
            kept = store.find(key)
            assert kept is not None
            results[trial].append(kept)
    return results


def _keys(setting: ForecastSetting, trials: list[ForecastTrial], part: int) -> dict[ForecastTrial, str]:
    return {trial: setting.key(trial, part) for trial in trials}


def _ready(setting: ForecastSetting, trial: ForecastTrial, ready: dict[str, Predictor]) -> Predictor | None:
    """One copy of the weights serves all trials: a model has no state."""
    if trial.weights == COPY_LAST:
        return None
    if trial.weights not in ready:
        runtime = setting.runtime
        model = for_inference(setting.models[trial.weights], runtime.device, runtime.dtype)
        ready[trial.weights] = model
    return ready[trial.weights]


class _Watched(Predictor):
    """A model that counts how old the templates are from which predictions are read."""

    def __init__(self, model: Predictor, observed: int) -> None:
        super().__init__(model.config)
        self.model, self.observed, self.ages = model, observed, np.zeros(0, np.int64)

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        if state is not None and state.memory is not None:
            # Before the frame is taken in, as the memory may be written in place.
            now, held = state.carried["frame_index"] + 1, state.memory.frame_index
            if int(now[0]) >= self.observed - 1:
                ages = (now.unsqueeze(1) - held)[held >= 0]
                self.ages = _sum(self.ages, torch.bincount(ages.flatten()).cpu().numpy())
        return self.model.observe(frame, state, rules)

    def predict(self, state: PredictorState) -> Tensor:
        return self.model.predict(state)


class _Run:
    """One trial."""

    def __init__(self, setting: ForecastSetting, trial: ForecastTrial, model: Predictor | None) -> None:
        self.setting, self.trial, self.model = setting, trial, model
        self.generator = torch.Generator()
        self.rules = None if model is None else model.rules(trial.slots, trial.policy)
        if self.rules is not None:
            self.rules = dataclasses.replace(self.rules, generator=self.generator)

    def predict(self, clips: Tensor, part: int, on_frames: Callable[[int], None]) -> Forecast:
        setting, protocol = self.setting, self.setting.clips.protocol
        # Each part has random numbers of its own, so that an interrupted table goes on with the same ones.
        self.generator.manual_seed(self.trial.seed * 2**20 + part)
        scorer = PredictionScorer(conventions=protocol.conventions, lpips=setting.lpips)
        watched = None if self.model is None else _Watched(self.model, protocol.observe)
        for batch in clips.split(setting.batch):
            truth = batch[:, protocol.observe :]
            if watched is None:
                found = batch[:, protocol.observe - 1].unsqueeze(1).expand_as(truth)
            else:
                with setting.runtime.active():
                    frames = batch.to(setting.runtime.device)
                    found = forecast_clip(watched, frames, protocol.observe, self.rules)
            scorer.add(found, truth)
            on_frames(truth.shape[0] * truth.shape[1])
        scores: PredictionScores = scorer.result()
        return Forecast(
            key=setting.key(self.trial, part),
            part=part,
            settings=self.trial.settings(),
            clips=scores.sequences,
            curves=dict(scores.curves),
            ages=() if watched is None else tuple(watched.ages.tolist()),
        )


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    length = max(len(a), len(b))
    return np.pad(a, (0, length - len(a))) + np.pad(b, (0, length - len(b)))
