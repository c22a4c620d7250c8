"""``stremn train``: train a model by a recipe."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from stremn.errors import StremnError

__all__ = ["train"]


def train(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file; those of the shipped weights are in stremn/recipes.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for weights, log and the recipe as it was run.")],
    change: Annotated[list[str] | None, typer.Option("--set", help="key=value, replaces a key.")] = None,
) -> None:
    """Train a model by a recipe."""
    missing = [name for name in ("accelerate", "yaml") if importlib.util.find_spec(name) is None]
    if missing:
        raise StremnError(f"training needs {' and '.join(missing)}: pip install 'stremn[train]'")
    from stremn.training import load_recipe
    from stremn.training import train as run

    print(run(load_recipe(recipe, tuple(change or ())), out))
