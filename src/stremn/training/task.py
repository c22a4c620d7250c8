"""What the engine asks of a task. It knows nothing else of what it trains."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from stremn.errors import StremnError
from stremn.models import Predictor, Segmenter, as_model, save_pretrained
from stremn.training.recipe import Recipe, expand

__all__ = ["SCORE", "ModelTask", "StepDraw", "Task", "check_held_out", "session_precision"]

SCORE = "score"
"""Name of the figure by which the best weights are kept; higher is better."""


@dataclass(frozen=True)
class StepDraw:
    """Everything random in a loss must be drawn from here, so that a run can be resumed exactly.

    Attributes:
        step: optimiser steps done before this one.
        shared: the same in all processes and in all parts of an accumulated step; on the CPU.
        own: of this process and part; on the device of the model.
    """

    step: int
    shared: torch.Generator
    own: torch.Generator


class Task(ABC):
    """One thing that models are trained for.

    Args:
        recipe: of :attr:`recipe_class`.
        device: where validation is to run.
    """

    recipe_class: ClassVar[type[Recipe]]

    def __init__(self, recipe: Any, device: torch.device) -> None:
        """See the class. Data is opened here, so that what is missing is found before anything is written.

        Raises:
            StremnError: if data is missing.
        """
        self.recipe, self.device = recipe, device

    @abstractmethod
    def new_model(self) -> nn.Module:
        """The model that the recipe starts from."""

    @abstractmethod
    def load_model(self, path: Path) -> nn.Module:
        """A model that :meth:`save_model` wrote."""

    @abstractmethod
    def save_model(self, model: nn.Module, path: Path) -> None:
        """Write all weights of a model to a ``.safetensors`` file, beside and then renamed."""

    @abstractmethod
    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """What the optimiser takes: ``params`` and ``lr``. Freezes (``requires_grad``) what is left out."""

    def prepare(self, model: nn.Module) -> None:
        """Change how a model computes in training, once it is on its device; nothing by default."""
        return

    @property
    @abstractmethod
    def clips(self) -> Dataset[Any]:
        """Training clips by :class:`stremn.data.ClipRequest`, each a function of the request and the seed."""

    @abstractmethod
    def collate(self, clips: list[Any]) -> Any:
        """Clips as one batch: a dataclass or a dictionary of tensors."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, draw: StepDraw) -> Tensor:
        """Mean over the clips of a batch, so that the mean of equal batches is that of all their clips."""

    @abstractmethod
    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures of a model, one of them :data:`SCORE`, on data that is never trained on."""

    def picture(self, model: nn.Module) -> np.ndarray | None:
        """What the model does, as RGB ``(H, W, 3)`` uint8; ``None`` if there is nothing to show."""
        return None

    @abstractmethod
    def describe_data(self) -> dict[str, Any]:
        """What is trained and validated on, as JSON: data sets with counts and names."""


class ModelTask(Task):
    """A task that trains one kind of this package's models."""

    model_class: ClassVar[type[Any]]

    @abstractmethod
    def untrained_model(self) -> Segmenter | Predictor:
        """The model of a recipe without ``start``."""

    def new_model(self) -> Any:
        """From ``start``, or a new one."""
        start = self.recipe.start
        return as_model(expand(start), self.model_class) if start else self.untrained_model()

    def load_model(self, path: Path) -> Any:
        """With the config that the file carries."""
        return as_model(path, self.model_class)

    def save_model(self, model: nn.Module, path: Path) -> None:
        """With its config, so that sessions and commands take the file."""
        assert isinstance(model, (Segmenter, Predictor))
        save_pretrained(model, path)


def check_held_out(names: Iterable[str], found: Iterable[str]) -> None:
    """Refuse names of videos that are not there.

    Raises:
        StremnError: naming them.
    """
    missing = sorted(set(names) - set(found))
    if missing:
        raise StremnError(f"recipe: 'held_out' names {missing}, which 'videos' does not contain")


def session_precision(precision: str) -> str:
    """What a recipe's ``precision`` is called by sessions, which validate as users compute."""
    return "fp32" if precision == "no" else precision
