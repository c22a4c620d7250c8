"""Training of segmentation models: recipes, losses, one engine."""

from stremn.training.engine import train
from stremn.training.recipe import Recipe, load_recipe

__all__ = ["Recipe", "load_recipe", "train"]
