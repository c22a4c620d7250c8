"""What the engine asks of a task. It knows nothing else of what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from stremn.errors import StremnError
from stremn.models import Predictor, Segmenter, as_model, create_model, reconfigured, save_pretrained
from stremn.models.registry import config_named
from stremn.training.recipe import Recipe, expand

__all__ = ["SCORE", "StepDraw", "Task", "hold_out"]

SCORE = "score"
"""Name of the figure by which the best weights are kept; higher is better."""


@dataclass(frozen=True)
class StepDraw:
    """Everything random in a loss must be drawn from here, so that a run can be resumed exactly.

    Attributes:
        step: optimiser steps done before this one.
        shared: generator that is the same in all processes and parts of an accumulated step; on the CPU.
        own: generator of this process and part; on the device of the model.
    """

    step: int
    shared: torch.Generator
    own: torch.Generator


class Task(ABC):
    """One thing that models are trained for.

    Data is opened when a task is made, so that what is missing is found before anything is written.

    Args:
        recipe: what to do, of :attr:`recipe_class`.
        device: where validation is to run.

    Raises:
        StremnError: if data is missing.
    """

    recipe_class: ClassVar[type[Recipe]]
    model_class: ClassVar[type[Any]]
    """Which of this package's models the task trains."""

    clips: Dataset[Any]
    """Training clips by :class:`stremn.data.ClipRequest`, each a function of the request and the seed."""

    def __init__(self, recipe: Any, device: torch.device) -> None:
        self.recipe, self.device = recipe, device

    def new_model(self) -> Any:
        """Make the model that training begins with: the recipe's ``start``, or an untrained one."""
        if not self.recipe.start:
            return self.untrained_model()
        start = expand(self.recipe.start)
        model = reconfigured(as_model(start, self.model_class), self.recipe.config_changes, start)
        named = config_named(self.recipe.model)
        if self.recipe.model != type(self.recipe).model and named.architecture != model.config.architecture:
            raise StremnError(
                f"recipe: 'model' is {self.recipe.model}, and 'start', {start}, is of architecture "
                f"'{model.config.architecture}': leave 'model' out"
            )
        return model

    def untrained_model(self) -> nn.Module:
        """Make the model of a recipe without ``start``: a registered one, with the recipe's ``config``."""
        model: nn.Module = create_model(self.recipe.model, **self.recipe.config_changes)
        return as_model(model, self.model_class)

    def load_model(self, path: Path) -> Any:
        """Read a model that :meth:`save_model` wrote."""
        return as_model(path, self.model_class)

    def save_model(self, model: nn.Module, path: Path) -> None:
        """Write all weights of a model to a ``.safetensors`` file that sessions and commands take."""
        assert isinstance(model, (Segmenter, Predictor))
        save_pretrained(model, path)

    @abstractmethod
    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """List what the optimiser takes (``params`` and ``lr``), and freeze what is left out."""

    def prepare(self, model: nn.Module) -> None:
        """Change how a model computes in training, once it is on its device; by default not at all."""
        return

    @abstractmethod
    def collate(self, clips: list[Any]) -> Any:
        """Join clips to a batch: a dataclass or a dictionary of tensors."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, draw: StepDraw) -> Tensor:
        """Compute the mean loss of the clips of a batch, so that equal batches average to all their clips."""

    @abstractmethod
    def validate(self, model: nn.Module) -> tuple[dict[str, float], np.ndarray | None]:
        """Try a model on data that is never trained on.

        Returns:
            Its figures, one of them :data:`SCORE`, and what it does as a picture, RGB ``(H, W, 3)`` uint8,
            if there is something to show.
        """

    @abstractmethod
    def describe_data(self) -> dict[str, Any]:
        """Describe what is trained and validated on as JSON: data sets with counts and names."""


def hold_out(
    videos: Iterable[Any], names: Sequence[str], group: Callable[[Any], str] = lambda video: ""
) -> tuple[list[Any], list[Any]]:
    """Part videos, of any class that has a ``name``, into those to train on and those held out.

    Args:
        videos: all of them.
        names: of videos, or of groups of videos, to hold out.
        group: names the group that a video belongs to; by default there are none.

    Raises:
        StremnError: if a name is of no video and no group.
    """
    trained: list[Any] = []
    held_out: list[Any] = []
    for video in videos:
        (held_out if {video.name, group(video)} & set(names) else trained).append(video)
    missing = sorted(set(names) - {name for video in held_out for name in (video.name, group(video))})
    if missing:
        raise StremnError(f"recipe: 'held_out' names {missing}, which 'videos' does not contain")
    return trained, held_out
