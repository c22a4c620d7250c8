"""``stremn onnx``: the step of a segmentation session as one ONNX file."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import say
from stremn.errors import StremnError

__all__ = ["onnx"]


@partial(bundled, without=("device", "precision", "seed", "multi_scale", "postprocess"))
def onnx(
    file: Annotated[Path, typer.Argument(help="The file to write, named .onnx.")],
    frame: Annotated[str, typer.Option(help="Size of the videos' frames, WIDTHxHEIGHT.")],
    asked: options.SessionOptions,
    objects: Annotated[int, typer.Option(help="Most objects at a time.")] = 1,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a model's whole step, state in and out, as one ONNX graph."""
    size = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", frame)
    if size is None:
        raise StremnError(f"--frame {frame} is not like 854x480: give width and height of the frames")
    options.check_new(file, ".onnx", overwrite)
    from stremn.sessions import export_onnx

    width, height = int(size[1]), int(size[2])
    export_onnx(asked.model, file, frame_size=(height, width), objects=objects, settings=asked.segmentation())
    say(f"{file}: {file.stat().st_size / 1e6:.0f} MB, up to {objects} objects in frames of {frame}")
