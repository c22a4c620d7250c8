"""Training: recipes, tasks, one engine."""

from stremn.training.best import average_models
from stremn.training.engine import WRITTEN, StepReport, TrainingStopped, train
from stremn.training.prediction.task import PredictionRecipe, PredictionTask
from stremn.training.recipe import Recipe
from stremn.training.registry import TASKS, load_recipe
from stremn.training.segmentation.task import SegmentationRecipe, SegmentationTask
from stremn.training.task import StepDraw, Task

__all__ = [
    "TASKS",
    "WRITTEN",
    "PredictionRecipe",
    "PredictionTask",
    "Recipe",
    "SegmentationRecipe",
    "SegmentationTask",
    "StepDraw",
    "StepReport",
    "Task",
    "TrainingStopped",
    "average_models",
    "load_recipe",
    "train",
]
