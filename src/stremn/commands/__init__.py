"""The ``stremn`` command. Subcommands have files of their own; this one registers them.

These files import at their head only what it takes to print their help: PyTorch and all that needs it is
imported where a command computes.
"""

from collections.abc import Sequence
from contextlib import suppress

import typer

from stremn import __version__
from stremn.commands.console import Interrupted, attended, explained, note
from stremn.commands.data import data
from stremn.commands.demo import demo
from stremn.commands.evaluate import evaluate, score
from stremn.commands.export import export
from stremn.commands.figures import figures
from stremn.commands.live import live
from stremn.commands.onnx import onnx
from stremn.commands.predict import predict
from stremn.commands.segment import segment
from stremn.commands.segment_many import segment_many
from stremn.commands.studio import studio
from stremn.commands.table import ablate, table
from stremn.commands.train import average, train

__all__ = ["app", "main"]

BAD_INPUT = 2

app = typer.Typer(
    name="stremn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Follow objects through a video of any length with constant memory.",
)
for command in (
    *(segment, segment_many, live, predict, studio, export, onnx, demo),
    *(score, evaluate, figures, table, train, average),
):
    app.command()(command)
app.add_typer(ablate)
app.add_typer(data)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Follow objects through a video of any length with constant memory."""
    if version:
        print(f"stremn {__version__}")
        raise typer.Exit


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        args: what follows ``stremn``; ``None`` takes it from the process.

    Returns:
        The exit status: 2 and one line on stderr for bad input, 130 when interrupted from the keyboard.
    """
    try:
        with attended():
            status = app(args=None if args is None else list(args), prog_name="stremn", standalone_mode=False)
            return status if isinstance(status, int) else 0
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Interrupted as interrupted:
        with suppress(OSError):
            note("stremn: interrupted; the files written so far are complete")
        return interrupted.status
    except Exception as error:
        message = explained(error)
        if message is None:
            raise
        if message:
            note(f"stremn: {message}", "red")
        return BAD_INPUT
