"""Videos by the entry that names them in a recipe or on the command line."""

from collections.abc import Iterable
from pathlib import Path

from stremn.data.prediction.human_actions import read_human36m, read_kth
from stremn.data.prediction.reels import ImageReel, Reel, VideoReel
from stremn.data.segmentation.videos import resolution_folder
from stremn.errors import StremnError
from stremn.files.names import VIDEO_SUFFIXES, image_files, natural_key, read_names, split_entry

__all__ = ["KINDS", "kind_of", "open_reels", "read_reels"]

KINDS = {"kth": read_kth, "human36m": read_human36m}
"""Readers of data sets with a layout and a split of their own, by the word before the colon."""


def kind_of(entry: str) -> str:
    """The data set that an entry names, of ``KINDS``; empty for plain videos."""
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
    path, names = split_entry(entry)
    return read_reels(path, read_names(Path(names), "videos") if names else None)


def read_reels(path: Path | str, names: Iterable[str] | None = None) -> list[Reel]:
    """The videos at a path, in natural order of their names.

    Read are a video file; a folder of images, which are the frames of one video; a folder of such files and
    folders, at any depth, each named by its path below it; and the root of a DAVIS copy, of which
    ``JPEGImages`` counts.

    Args:
        path: file or folder.
        names: take only these; a file's name is without suffix.

    Raises:
        StremnError: if there is no video, or a named one is missing.
    """
    path = Path(path)
    if path.is_file():
        reels: list[Reel] = [VideoReel(path)]
    elif path.is_dir():
        images = "JPEGImages"
        top = resolution_folder(path, images) if (path / images).is_dir() else path
        reels = sorted(_below(top), key=lambda reel: natural_key(reel.name))
    else:
        raise StremnError(f"{path}: does not exist; give a folder of videos or of folders of frames")
    if not reels:
        raise StremnError(f"{path}: holds no video and no images; give a folder of videos or of frames")
    if names is None:
        return reels
    known = {reel.name: reel for reel in reels}
    wanted = list(names)
    if missing := [name for name in wanted if name not in known]:
        raise StremnError(f"{path}: has no video named '{missing[0]}'; correct the list of names")
    return [known[name] for name in wanted]


def _below(root: Path) -> list[Reel]:
    reels: list[Reel] = []
    for folder in [root, *(f for f in root.rglob("*") if f.is_dir() and not f.name.startswith("."))]:
        below = folder.relative_to(root)
        if images := image_files(folder):
            reels.append(ImageReel(below.as_posix() if folder != root else root.name, images))
        reels += [
            VideoReel(file, (below / file.stem).as_posix())
            for file in folder.iterdir()
            if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
        ]
    return reels
