"""Training of video prediction: its recipe, its data, its loss and its validation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from stremn.data import (
    ClipRequest,
    FrameClip,
    FrameClips,
    FrameWindows,
    MemoryClips,
    MovingMnist,
    collate_frames,
    read_digits,
)
from stremn.data.clips import ClipMixture
from stremn.data.prediction.any_videos import open_reels
from stremn.data.prediction.human_actions import person_of
from stremn.data.prediction.reels import Reel
from stremn.errors import StremnError
from stremn.metrics.prediction.scores import PredictionScorer
from stremn.models import Predictor
from stremn.models.predictor import forecast_clip
from stremn.runtime import Runtime
from stremn.training.prediction.losses import prediction_loss
from stremn.training.recipe import Recipe, bounded, expand
from stremn.training.task import SCORE, StepDraw, Task, hold_out

__all__ = ["PredictionRecipe", "PredictionTask"]

VALIDATION_SEED = 1
"""Seed of moving digits that validate; the same for all recipes, so that their figures can be compared."""

LEAST_ERROR = 1e-4
"""Mean squared error below which less is worth little, a PSNR of 40 dB."""


@dataclass(frozen=True)
class PredictionRecipe(Recipe):
    """A training run of video prediction, which has the keys of :class:`stremn.training.Recipe` besides."""

    task: str = "prediction"
    model: str = "stremn-predict-mnist"
    frames: tuple[int, ...] = (20,)
    size: tuple[int, ...] = (64,)
    batch: tuple[int, ...] = (8,)
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    channels: int = bounded(0, 0, 3)
    """Of frames, 1 grey or 3 RGB; 0 for the model's own."""
    observed: int = bounded(10, 1)
    """M, the frames that the model is given of the shortest clips, of which it predicts the others. Of longer
    clips it is given more, and predicts equally many."""
    digits: str = ""
    """MNIST image file, for clips of moving digits."""
    train_digits: tuple[int, ...] = (0, 7000)
    """First digit of the file that clips are made of, and the first that is not."""
    held_digits: tuple[int, ...] = (7000, 8000)
    """The same for validation."""
    videos: tuple[str, ...] = ()
    """Videos or folders of videos or of frames, each a path, ``path:file`` with the names of some of its
    videos, ``kth:root`` or ``human36m:root`` (the published training split)."""
    held_out: tuple[str, ...] = ()
    """Names of videos that are never trained on; validation runs on them. ``person16`` or ``S8`` names all
    videos of a person of KTH or Human3.6M."""
    squash: bool = False
    """Scale both sides of a video to ``size``; else the shorter one, and crop the longer."""
    zoom: float = bounded(1.0, 1, 16)
    """The largest factor by which a crop shows a part of the picture."""
    mirror: bool = True
    """Whether clips of videos are mirrored half of the time."""
    vary: bool = False
    """Whether clips of videos are turned by quarters, played backwards, to and fro, with frames that come
    twice, or trembling, and brightened or darkened."""
    recalled: float = bounded(0.0, 0, 1)
    """Share of clips that are generated to be remembered, see :class:`stremn.data.MemoryClips`."""
    gap: int = bounded(1, 1)
    """Frames of a clip are this far apart in the video, in training and validation."""
    l1_weight: float = bounded(1.0, 0)
    """Weight of the first term of :func:`stremn.training.prediction.losses.prediction_loss`."""
    l2_weight: float = bounded(1.0, 0)
    """Weight of its second term."""
    gradient_weight: float = bounded(1.0, 0)
    """Weight of its third term."""
    mse_weight: float = bounded(0.0, 0)
    """Weight of the plain mean squared error."""
    log_weight: float = bounded(0.0, 0)
    """Weight of the logarithm of each frame's mean squared error, which PSNR is."""
    validate_clips: int = bounded(64, 1, 1_000_000)
    """How many fixed clips validation predicts."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        if bool(self.digits) == bool(self.videos):
            raise StremnError("recipe: give either 'digits' or 'videos' to train on")
        for name in ("held_out", "squash", "zoom", "gap"):
            if self.digits and getattr(self, name) != getattr(PredictionRecipe, name):
                raise StremnError(f"recipe: '{name}' is of 'videos'; leave it out for moving digits")
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
        if self.validate_every and not self.digits and not self.held_out:
            raise StremnError("recipe: 'validate_every' needs videos in 'held_out' to validate on")

    @property
    def config_changes(self) -> dict[str, Any]:
        """What becomes another in the model's config; ``channels`` has a key of its own."""
        return ({"channels": self.channels} if self.channels else {}) | self.config


class PredictionTask(Task):
    """Trains models that predict the frames which follow those they have observed.

    Raises:
        StremnError: if data is missing, nothing is left to train on, or moving digits are to be in colour.
    """

    recipe_class, model_class = PredictionRecipe, Predictor
    collate = staticmethod(collate_frames)

    def __init__(self, recipe: PredictionRecipe, device: torch.device) -> None:
        super().__init__(recipe, device)
        self.runtime = replace(Runtime.choose("cpu", recipe.session_precision), device=device)
        self.grey = self.new_model().config.channels == 1
        self.trained: list[Reel] = []
        self.held: list[Reel] = []
        if recipe.digits:
            if not self.grey:
                raise StremnError("recipe: moving digits are grey; set 'channels: 1'")
            path = expand(recipe.digits)
            self.clips = MovingMnist(read_digits(path, *recipe.train_digits), seed=recipe.seed)
            self.moving = MovingMnist(read_digits(path, *recipe.held_digits), seed=VALIDATION_SEED)
        else:
            reels = [reel for entry in recipe.videos for reel in open_reels(expand(entry), "train")]
            self.trained, self.held = hold_out(reels, recipe.held_out, person_of)
            needed = (recipe.shapes[0][1] - 1) * recipe.gap + 1
            for reel in self.held if recipe.validate_every else ():
                if reel.count < needed:
                    raise StremnError(
                        f"recipe: '{reel.name}', which is held out, has {reel.count} frames, and a clip to "
                        f"validate on has {needed}: leave it out of 'held_out' and 'videos'"
                    )
            clips = self.clips = FrameClips(
                self.trained,
                seed=recipe.seed,
                grey=self.grey,
                squash=recipe.squash,
                zoom=recipe.zoom,
                mirror=recipe.mirror,
                vary=recipe.vary,
                gap=recipe.gap,
            )
            if recipe.recalled:
                shares = (1 - recipe.recalled, recipe.recalled)
                remembered = MemoryClips(recipe.seed, grey=self.grey)
                self.clips = ClipMixture([clips, remembered], shares, recipe.seed)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Train all parameters at one rate."""
        return [{"params": list(model.parameters()), "lr": self.recipe.learning_rate}]

    def loss(self, model: nn.Module, batch: FrameClip, draw: StepDraw) -> Tensor:
        """Predict what follows the observed frames, and compute its loss."""
        recipe, network = self.recipe, cast(Predictor, model)
        rules = network.rules()
        if rules is not None:
            rules = replace(rules, noise=True, generator=draw.own)
        frames = batch.frames
        observed = frames.shape[1] - min(recipe.frames) + recipe.observed
        return self._distance(forecast_clip(network, frames, observed, rules), frames[:, observed:])

    def _distance(self, found: Tensor, truth: Tensor) -> Tensor:
        recipe = self.recipe
        loss = prediction_loss(
            found,
            truth,
            l1_weight=recipe.l1_weight,
            l2_weight=recipe.l2_weight,
            gradient_weight=recipe.gradient_weight,
        )
        if recipe.mse_weight:
            loss = loss + recipe.mse_weight * F.mse_loss(found, truth)
        if recipe.log_weight:
            error = ((found - truth) ** 2).mean(dim=(2, 3, 4))
            loss = loss + recipe.log_weight * torch.log1p(error / LEAST_ERROR).mean()
        return loss

    def validate(self, model: nn.Module) -> tuple[dict[str, float], np.ndarray | None]:
        """Predict the clips held out.

        Returns:
            SSIM (the score, P4), PSNR, and MSE and MAE summed over pixels, means over the horizon; and the
            first clip from left to right in time, truth above prediction.
        """
        network, scorer, shown = cast(Predictor, model), PredictionScorer(), None
        rules = network.rules()
        for frames in self.held_clips(self.recipe.batch[0]):
            frames = frames.to(self.device)
            with self.runtime.active():
                found = forecast_clip(network, frames, self.recipe.observed, rules)
            truth = frames[:, self.recipe.observed :]
            scorer.add(found, truth)
            if shown is None:
                rows = [torch.cat(list(clip[0]), dim=2).expand(3, -1, -1) for clip in (truth, found)]
                pixels = (torch.cat(rows, dim=1) * 255).round().to(torch.uint8)
                shown = np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
        scores = scorer.result()
        return {SCORE: scores["ssim"], **{n: scores[n] for n in ("ssim", "psnr", "mse", "mae")}}, shown

    def held_clips(self, batch: int) -> Iterator[Tensor]:
        """Yield the fixed clips of validation, ``(B, T, C, h, w)`` at a time, of the recipe's first shape."""
        recipe = self.recipe
        _, frames, size = recipe.shapes[0]
        source: Dataset[FrameClip]
        if recipe.digits:
            source, numbers = self.moving, list(range(recipe.validate_clips))
        else:
            windows = FrameWindows(
                self.held, frames=frames, size=size, grey=self.grey, squash=recipe.squash, gap=recipe.gap
            )
            count = min(recipe.validate_clips, len(windows))
            source, numbers = windows, np.linspace(0, len(windows) - 1, count).round().astype(int).tolist()
        for first in range(0, len(numbers), batch):
            requests = [ClipRequest(number, frames, size) for number in numbers[first : first + batch]]
            yield collate_frames([source[request] for request in requests]).frames

    def describe_data(self) -> dict[str, Any]:
        """List the digits, or the videos with the number of their frames."""
        if self.recipe.digits:
            return {
                "digits": {"train": list(self.recipe.train_digits), "held_out": list(self.recipe.held_digits)}
            }
        parts = {"videos": self.trained, "held_out": self.held}
        return {name: [{"name": r.name, "frames": r.count} for r in reels] for name, reels in parts.items()}
