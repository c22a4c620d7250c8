"""``stremn train`` and ``stremn average``: weights by a recipe, and the mean of several."""

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stremn.commands import options
from stremn.commands.console import Interrupted, RunProgress, note, say, stop_between_frames
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.training import StepReport

__all__ = ["average", "train"]


def train(
    recipe: Annotated[
        Path, typer.Argument(help="YAML file; those of the shipped weights are in stremn/recipes.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for weights, checkpoints, logs and pictures.")],
    change: Annotated[list[str] | None, typer.Option("--set", help="key=value, replaces a key.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")
    ] = False,
) -> None:
    """Train a model by a recipe, in one process or in several under ``accelerate launch``."""
    missing = [name for name in ("accelerate", "yaml") if importlib.util.find_spec(name) is None]
    if missing:
        raise StremnError(f"training needs {' and '.join(missing)}: pip install 'stremn[train]'")
    from stremn.training import WRITTEN, TrainingStopped, load_recipe
    from stremn.training import train as run

    loaded = load_recipe(recipe, tuple(change or ()))
    first = os.environ.get("RANK", "0") == "0"
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    with stop_between_frames(launched=launched) as stop, RunProgress("train") as progress:

        def show(report: "StepReport") -> None:
            facts = f"loss {report.loss:.4f}  {report.images_per_second:.1f} images/s"
            line = f"step {report.step}/{report.steps}  {facts}  {report.seconds_left:.0f} s left"
            progress.show(report.step, report.steps, facts, line, last=report.step == report.steps)

        try:
            weights = run(loaded, out, resume, watch=show, stop=lambda: bool(stop))
        except TrainingStopped as stopped:
            if first:
                note(f"stopped at {stopped} with a checkpoint; continue with --resume")
            raise Interrupted(stop.number or signal.SIGINT) from stopped
    if first:
        for name in WRITTEN:
            if weights.with_name(name).exists():
                say(weights.with_name(name))


def average(
    weights: Annotated[
        list[str], typer.Argument(help="Two or more weights files, run folders or names of models.")
    ],
    out: Annotated[Path, typer.Option(help="File for the mean, in half precision.")],
    share: Annotated[
        float | None, typer.Option(help="Share of the first, 0 to 1; the others share the rest alike.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, replaces a field of the config.")
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Average the weights of several runs of one network."""
    if len(weights) < 2:
        raise StremnError("average needs two or more weights: name files or run folders")
    options.check_new(out, ".safetensors", overwrite)
    changes = dict(_change(text) for text in change or ())

    import torch

    from stremn.models import save_pretrained
    from stremn.training import average_models

    mean = average_models(weights, share=share, changes=changes)
    say(save_pretrained(mean, out, dtype=torch.float16))


def _change(text: str) -> tuple[str, Any]:
    """Read ``key=value``; a value that is no JSON is text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise StremnError(f"--set {text}: write key=value")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = value
    return key, tuple(found) if isinstance(found, list) else found
