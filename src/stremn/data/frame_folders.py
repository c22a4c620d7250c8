"""Any folder of videos or of folders of frames."""

from collections.abc import Iterable
from pathlib import Path

from stremn.data.reels import ImageReel, Reel
from stremn.data.video_reel import VideoReel
from stremn.errors import StremnError
from stremn.files.folders import image_files, natural_key

__all__ = ["VIDEO_SUFFIXES", "read_reels"]

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})


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
        reels = sorted(_below(_davis_frames(path)), key=lambda reel: natural_key(reel.name))
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


def _davis_frames(root: Path) -> Path:
    images = root / "JPEGImages"
    choices = (images / "480p", images / "Full-Resolution", images)
    return next((folder for folder in choices if folder.is_dir()), root)


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
