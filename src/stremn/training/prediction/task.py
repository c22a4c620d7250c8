"""Training of video prediction: its recipe, its data, its loss and its validation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from stremn.data import FrameClip, collate_frames
from stremn.errors import StremnError
from stremn.memory import Rules, get_policy
from stremn.metrics.prediction.scores import PredictionScorer
from stremn.models import Predictor, as_model, create_model
from stremn.models.rollout import forecast_clip
from stremn.runtime import Runtime
from stremn.training.prediction.data import PredictionData
from stremn.training.prediction.losses import prediction_loss
from stremn.training.recipe import Recipe
from stremn.training.task import SCORE, ModelTask, StepDraw, session_precision

__all__ = ["PredictionRecipe", "PredictionTask"]


@dataclass(frozen=True)
class PredictionRecipe(Recipe):
    """A training run of video prediction. The keys of all tasks: :class:`stremn.training.Recipe`.

    Attributes:
        channels: of frames, 1 grey or 3 RGB; 0 for the model's own.
        observed: M, the frames of a clip that the model is given; it predicts the others.
        digits: MNIST image file, for clips of moving digits.
        train_digits: first digit of the file that clips are made of, and the first that is not.
        held_digits: the same for validation.
        videos: videos or folders of videos or of frames, each a path, ``path:file`` with the names of some of
            its videos, ``kth:root`` or ``human36m:root`` (the published training split).
        held_out: names of videos that are never trained on; validation runs on them.
        squash: scale both sides of a video to ``size``; else the shorter one, and crop the longer.
        zoom: the largest factor by which a crop shows a part of the picture, 1 or more.
        mirror: whether clips of videos are mirrored half of the time.
        most_gap: frames of a clip are up to this far apart in the video.
        slots: K in training; 0 for the model's own.
        policy: in training; empty for the model's own.
        feed_truth: share of predictions that are replaced by the truth at the first step, before the next one
            is predicted; falls linearly.
        feed_until: share of the steps after which none is replaced.
        l1_weight: see :func:`stremn.training.prediction.losses.prediction_loss`.
        l2_weight: see there.
        gradient_weight: see there.
        mse_weight: of the plain mean squared error.
        observed_weight: weight of the same loss on the observed frames, predicted one ahead.
        validate_clips: how many fixed clips validation predicts.
    """

    task: str = "prediction"
    model: str = "stremn-predict-mnist"
    frames: tuple[int, ...] = (20,)
    size: tuple[int, ...] = (64,)
    batch: tuple[int, ...] = (8,)
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    channels: int = 0
    observed: int = 10
    digits: str = ""
    train_digits: tuple[int, ...] = (0, 7000)
    held_digits: tuple[int, ...] = (7000, 8000)
    videos: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    squash: bool = False
    zoom: float = 1.0
    mirror: bool = True
    most_gap: int = 1
    slots: int = 0
    policy: str = ""
    feed_truth: float = 0.0
    feed_until: float = 0.5
    l1_weight: float = 1.0
    l2_weight: float = 1.0
    gradient_weight: float = 1.0
    mse_weight: float = 0.0
    observed_weight: float = 0.0
    validate_clips: int = 64

    least: ClassVar[Mapping[str, float]] = {
        **Recipe.least,
        "channels": 0,
        "observed": 1,
        "zoom": 1,
        "most_gap": 1,
        "slots": 0,
        "l1_weight": 0,
        "l2_weight": 0,
        "gradient_weight": 0,
        "mse_weight": 0,
        "observed_weight": 0,
        "validate_clips": 1,
    }
    shares: ClassVar[tuple[str, ...]] = (*Recipe.shares, "feed_truth", "feed_until")

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        if bool(self.digits) == bool(self.videos):
            raise StremnError("recipe: give either 'digits' or 'videos' to train on")
        super().__post_init__()
        if min(self.frames) <= self.observed:
            raise StremnError(
                f"recipe: 'frames' must be more than the {self.observed} 'observed', not {min(self.frames)}"
            )
        for name in ("train_digits", "held_digits"):
            value = getattr(self, name)
            if len(value) != 2 or not 0 <= value[0] < value[1]:
                raise StremnError(f"recipe: '{name}' must be a first and an end, not {list(value)}")
        if self.digits and max(self.train_digits[0], self.held_digits[0]) < min(
            self.train_digits[1], self.held_digits[1]
        ):
            raise StremnError("recipe: 'train_digits' and 'held_digits' overlap; part them")
        if self.policy:
            get_policy(self.policy)
        if self.validate_every and not self.digits and not self.held_out:
            raise StremnError("recipe: 'validate_every' needs videos in 'held_out' to validate on")


class PredictionTask(ModelTask):
    """See the module."""

    recipe_class, model_class = PredictionRecipe, Predictor

    def __init__(self, recipe: PredictionRecipe, device: torch.device) -> None:
        """Open the data sets.

        Raises:
            StremnError: if data is missing or nothing is left to train on.
        """
        super().__init__(recipe, device)
        self.data = PredictionData(recipe, grey=self.new_model().config.channels == 1)
        self.runtime = replace(Runtime.choose("cpu", session_precision(recipe.precision)), device=device)
        self._shown: tuple[Tensor, Tensor] | None = None

    @property
    def clips(self) -> Dataset[FrameClip]:
        """Clips of moving digits or of videos."""
        return self.data.clips

    def collate(self, clips: list[Any]) -> FrameClip:
        """Clips of one shape."""
        return collate_frames(clips)

    def untrained_model(self) -> Predictor:
        """Of the recipe's ``model`` and ``channels``."""
        changes = {"channels": self.recipe.channels} if self.recipe.channels else {}
        return as_model(create_model(self.recipe.model, **changes), Predictor)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """All parameters at one rate."""
        return [{"params": list(model.parameters()), "lr": self.recipe.learning_rate}]

    def loss(self, model: nn.Module, batch: FrameClip, draw: StepDraw) -> Tensor:
        """Predict what follows the observed frames, and its loss."""
        recipe, network = self.recipe, cast(Predictor, model)
        rules = self._rules(network)
        if rules is not None:
            rules = replace(rules, noise=True, generator=draw.own)
        frames, observed = batch.frames, recipe.observed
        left = 1 - draw.step / max(1.0, recipe.feed_until * recipe.steps)
        chance = torch.rand(
            (frames.shape[1] - observed, len(frames)), generator=draw.own, device=frames.device
        )
        truth = chance < recipe.feed_truth * left if left > 0 and recipe.feed_truth else None
        every = recipe.observed_weight > 0 and observed > 1
        found = forecast_clip(network, frames, observed, rules, truth=truth, every=every)
        if not every:
            return self._distance(found, frames[:, observed:])
        before, after = found.split([observed - 1, frames.shape[1] - observed], dim=1)
        loss = self._distance(after, frames[:, observed:])
        return loss + recipe.observed_weight * self._distance(before, frames[:, 1:observed])

    def _rules(self, network: Predictor) -> Rules | None:
        return network.rules(self.recipe.slots or None, self.recipe.policy or None)

    def _distance(self, found: Tensor, truth: Tensor) -> Tensor:
        recipe = self.recipe
        loss = prediction_loss(
            found,
            truth,
            l1_weight=recipe.l1_weight,
            l2_weight=recipe.l2_weight,
            gradient_weight=recipe.gradient_weight,
        )
        return loss + recipe.mse_weight * F.mse_loss(found, truth) if recipe.mse_weight else loss

    def validate(self, model: nn.Module) -> dict[str, float]:
        """SSIM (the score, P4), PSNR, and MSE and MAE summed over pixels, means over the horizon."""
        network, scorer, self._shown = cast(Predictor, model), PredictionScorer(), None
        rules = self._rules(network)
        for frames in self.data.held_clips(self.recipe.batch[0]):
            frames = frames.to(self.device)
            with self.runtime.active():
                found = forecast_clip(network, frames, self.recipe.observed, rules)
            truth = frames[:, self.recipe.observed :]
            scorer.add(found, truth)
            self._shown = self._shown or (truth[0].cpu(), found[0].cpu())
        scores = scorer.result()
        return {SCORE: scores["ssim"], **{name: scores[name] for name in ("ssim", "psnr", "mse", "mae")}}

    def picture(self, model: nn.Module) -> np.ndarray | None:
        """Truth above prediction of the first clip that was validated on, from left to right in time."""
        if self._shown is None:
            return None
        rows = [torch.cat(list(frames), dim=2).expand(3, -1, -1) for frames in self._shown]
        pixels = (torch.cat(rows, dim=1) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    def describe_data(self) -> dict[str, Any]:
        """Counts and names."""
        return self.data.describe()
