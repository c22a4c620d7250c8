"""Tasks by name, and recipes read for them."""

from pathlib import Path

from stremn.errors import StremnError
from stremn.training.prediction.task import PredictionTask
from stremn.training.recipe import Recipe, read_values
from stremn.training.segmentation.task import SegmentationTask
from stremn.training.task import Task

__all__ = ["TASKS", "load_recipe"]

TASKS: dict[str, type[Task]] = {"segmentation": SegmentationTask, "prediction": PredictionTask}
"""What a recipe's ``task`` may name."""


def load_recipe(path: Path | str, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply ``key=value`` changes. Relative data paths count from the working directory.

    Raises:
        StremnError: if the file cannot be read, or a key is unknown or of the wrong type.
    """
    values = read_values(path, changes)
    name = values.get("task", Recipe.task)
    if not isinstance(name, str) or name not in TASKS:
        raise StremnError(f"{path}: key 'task' cannot be {name!r:.60}; give {', '.join(TASKS)}")
    return TASKS[name].recipe_class.from_dict(values, path)
