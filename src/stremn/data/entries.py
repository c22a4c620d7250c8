"""Videos by the entry that names them in a recipe or on the command line."""

from pathlib import Path

from stremn.data.frame_folders import read_reels
from stremn.data.human36m import read_human36m
from stremn.data.kth import read_kth
from stremn.data.reels import Reel
from stremn.errors import StremnError

__all__ = ["KINDS", "kind_of", "open_reels"]

KINDS = {"kth": read_kth, "human36m": read_human36m}
"""Readers of data sets with a layout and a split of their own, by the word before the colon."""


def kind_of(entry: str) -> str:
    """The data set that an entry names, of `KINDS`; empty for plain videos."""
    kind, _, root = entry.partition(":")
    return kind if root and kind in KINDS else ""


def open_reels(entry: str, split: str = "train") -> list[Reel]:
    """The videos of an entry.

    Args:
        entry: ``kth:root``, ``human36m:root``, the path of a video or of a folder of videos or of frames, or
            ``path:file`` with the names of some of its videos, one a line.
        split: ``train`` or ``test``, where the data set has them.

    Raises:
        StremnError: if there is no such video.
    """
    if kind := kind_of(entry):
        return KINDS[kind](entry.removeprefix(f"{kind}:"), split)
    # A colon may also be part of a path.
    cuts = [len(entry), *(i for i, character in enumerate(entry) if character == ":")]
    cut = next((i for i in cuts if Path(entry[:i]).exists()), len(entry))
    names = entry[cut + 1 :]
    return read_reels(entry[:cut], _names(Path(names)) if names else None)


def _names(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise StremnError(f"{path}: cannot be read as a list of videos, one name a line") from error
