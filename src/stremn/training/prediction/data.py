"""What prediction is trained and validated on: moving digits, or videos."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from stremn.data import (
    ClipRequest,
    FrameClip,
    FrameClips,
    FrameWindows,
    MovingMnist,
    collate_frames,
    read_digits,
)
from stremn.data.prediction.any_videos import open_reels
from stremn.data.prediction.random_access import Reel
from stremn.errors import StremnError
from stremn.training.recipe import expand
from stremn.training.task import check_held_out

if TYPE_CHECKING:
    from stremn.training.prediction.task import PredictionRecipe

__all__ = ["PredictionData"]

VALIDATION_SEED = 1
"""Of moving digits; the same for all recipes, so that their figures can be compared."""


class PredictionData:
    """The data of a recipe.

    Args:
        recipe: see :class:`stremn.training.prediction.task.PredictionRecipe`.
        grey: one channel instead of three.

    Raises:
        StremnError: if data is missing, or of moving digits in colour.
    """

    clips: Dataset[FrameClip]

    def __init__(self, recipe: "PredictionRecipe", *, grey: bool) -> None:
        """See the class."""
        self.recipe, self.grey = recipe, grey
        self.trained: list[Reel] = []
        self.held: list[Reel] = []
        if recipe.digits:
            self._open_digits()
        else:
            self._open_videos()

    def _open_digits(self) -> None:
        recipe = self.recipe
        if not self.grey:
            raise StremnError("recipe: moving digits are grey; set 'channels: 1'")
        path = expand(recipe.digits)
        self.clips = MovingMnist(read_digits(path, *recipe.train_digits), seed=recipe.seed)
        self._moving = MovingMnist(read_digits(path, *recipe.held_digits), seed=VALIDATION_SEED)

    def _open_videos(self) -> None:
        recipe = self.recipe
        reels = [reel for entry in recipe.videos for reel in open_reels(expand(entry), "train")]
        self.held = [reel for reel in reels if reel.name in recipe.held_out]
        self.trained = [reel for reel in reels if reel.name not in recipe.held_out]
        check_held_out(recipe.held_out, (reel.name for reel in self.held))
        self.clips = FrameClips(
            self.trained,
            seed=recipe.seed,
            grey=self.grey,
            squash=recipe.squash,
            zoom=recipe.zoom,
            mirror=recipe.mirror,
            most_gap=recipe.most_gap,
        )

    def held_clips(self, batch: int) -> Iterator[Tensor]:
        """The fixed clips of validation, ``(B, T, C, h, w)`` at a time, of the recipe's first shape."""
        _, frames, size = self.recipe.shapes[0]
        wanted = self.recipe.validate_clips
        source: Dataset[FrameClip]
        if self.recipe.digits:
            source, numbers = self._moving, list(range(wanted))
        else:
            windows = FrameWindows(
                self.held, frames=frames, size=size, grey=self.grey, squash=self.recipe.squash
            )
            spread = np.linspace(0, len(windows) - 1, min(wanted, len(windows))).round()
            source, numbers = windows, [int(number) for number in spread]
        for first in range(0, len(numbers), batch):
            requests = [ClipRequest(number, frames, size) for number in numbers[first : first + batch]]
            yield collate_frames([source[request] for request in requests]).frames

    def describe(self) -> dict[str, Any]:
        """Counts and names, as JSON."""
        if self.recipe.digits:
            ranges = {"train": self.recipe.train_digits, "held_out": self.recipe.held_digits}
            return {"digits": {name: list(value) for name, value in ranges.items()}}
        return {
            "videos": [{"name": reel.name, "frames": reel.count} for reel in self.trained],
            "held_out": [{"name": reel.name, "frames": reel.count} for reel in self.held],
        }
