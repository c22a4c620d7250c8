"""The ``stremn`` command. Subcommands have files of their own; this one registers them.

These files import at their head only what it takes to print their help: PyTorch and all that needs it is
imported where a command computes.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from stremn import __version__
from stremn.commands.console import Interrupted, attended, note
from stremn.commands.data import data
from stremn.commands.demo import demo
from stremn.commands.evaluate import evaluate, score
from stremn.commands.export import export
from stremn.commands.figures import figures
from stremn.commands.live import live
from stremn.commands.predict import predict
from stremn.commands.segment import segment
from stremn.commands.studio import studio
from stremn.commands.table import ablate, table
from stremn.commands.train import average, train
from stremn.errors import StremnError

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
    *(segment, live, predict, studio, export, demo),
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
            app(args=None if args is None else list(args), prog_name="stremn")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except Interrupted as interrupted:
        with suppress(OSError):
            note("stremn: interrupted; the files written so far are complete")
        return interrupted.status
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _refuse("out of memory: give a smaller --size, fewer --slots or fewer objects")
    except (StremnError, OSError) as error:
        return _refuse(_described(error))
    return 0


def _refuse(message: str) -> int:
    note(f"stremn: {message}", "red")
    return BAD_INPUT


def _described(error: StremnError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check that it is there and that you may use it"
    return str(error)


def _out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or "can't allocate memory" in str(error)
    )
