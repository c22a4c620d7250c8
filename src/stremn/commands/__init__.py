"""The ``stremn`` command. Each subcommand has a file of its own; this one registers them."""

import logging
import sys

import typer
from rich.console import Console
from rich.logging import RichHandler

from stremn import __version__
from stremn.commands.demo import demo
from stremn.commands.evaluate import evaluate
from stremn.commands.score import score
from stremn.commands.segment import segment
from stremn.commands.train import train
from stremn.errors import StremnError

__all__ = ["app", "main"]

app = typer.Typer(
    name="stremn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Follow objects through a video of any length with constant memory.",
)
for command in (segment, demo, score, evaluate, train):
    app.command()(command)


@app.callback(invoke_without_command=True)
def options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Follow objects through a video of any length with constant memory."""
    if version:
        print(f"stremn {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: status 2 and one line on bad input, 130 when interrupted."""
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
    logging.getLogger("stremn").addHandler(handler)
    logging.getLogger("stremn").setLevel(logging.INFO)
    try:
        app(prog_name="stremn")
    except StremnError as error:
        console.print(f"stremn: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stremn: interrupted; the files written so far are complete", markup=False)
        sys.exit(130)
