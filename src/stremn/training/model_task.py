"""What both tasks do alike: their models are files with a config, and some of their videos are held out."""

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from stremn.errors import StremnError
from stremn.models import Predictor, Segmenter, as_model, save_pretrained
from stremn.training.recipe import expand
from stremn.training.task import Task

__all__ = ["ModelTask", "check_held_out", "session_precision"]


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
