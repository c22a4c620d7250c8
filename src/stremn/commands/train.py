"""``stremn train``: train a model by a recipe."""

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from stremn.commands.console import Interrupted, Stop, note, notes, say, stop_between_frames
from stremn.errors import StremnError

if TYPE_CHECKING:
    from rich.progress import Progress

    from stremn.training import StepReport

__all__ = ["train"]

SECONDS_BETWEEN_LINES = 5.0


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
    with _stop_between_steps() as stop, _progress() as show:
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


@contextmanager
def _stop_between_steps() -> Iterator[Stop]:
    """Stop as between frames; of several processes a second signal is the launcher passing on the first."""
    with stop_between_frames() as stop:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:

            def take_note(number: int, frame: FrameType | None) -> None:
                stop.number = stop.number or number

            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, take_note)
        yield stop


@contextmanager
def _progress() -> Iterator[Callable[["StepReport"], None]]:
    """Show loss, images a second and time left: a bar on a terminal, plain lines elsewhere."""
    bar: Progress | None = None
    shown = time.monotonic()

    def show(report: "StepReport") -> None:
        nonlocal bar, shown
        facts = f"loss {report.loss:.4f}  {report.images_per_second:.1f} images/s"
        facts += f"  {report.seconds_left:.0f} s left"
        if notes.is_terminal:
            if bar is None:
                bar = _bar(report.steps)
                bar.start()
            bar.update(bar.task_ids[0], completed=report.step, facts=facts)
        elif report.step == report.steps or time.monotonic() - shown >= SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            note(f"step {report.step}/{report.steps}  {facts}")

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


def _bar(steps: int) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("train"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[facts]}"))
    bar = Progress(*columns, console=notes)
    bar.add_task("train", total=steps, facts="")
    return bar
