"""``stremn average``: one set of weights that is the mean of others."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from stremn.commands.console import say
from stremn.errors import StremnError

__all__ = ["average"]


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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Average the weights of several runs of one network."""
    if len(weights) < 2:
        raise StremnError("average needs two or more weights: name files or run folders")
    if out.suffix != ".safetensors":
        raise StremnError(f"--out {out}: name a .safetensors file")
    if out.exists() and not overwrite:
        raise StremnError(f"{out} exists: give --overwrite to replace it, or another --out")
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
