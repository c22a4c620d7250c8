"""YouTube-VOS 2018 and 2019: DAVIS layout in `train` and `valid`, and `meta.json` about the objects."""

import json
from collections.abc import Mapping
from pathlib import Path

from stremn.errors import StremnError

__all__ = ["META_FILE", "Meta", "read_meta", "video_root"]

META_FILE = "meta.json"

Meta = Mapping[str, Mapping[int, tuple[str, ...]]]
"""Names of the frames in which an object is annotated, in order, by sequence and object id."""


def video_root(root: Path) -> Path:
    """The folder that holds ``JPEGImages``: ``root``, or ``train`` or ``valid`` in it."""
    for folder in (root, root / "train", root / "valid"):
        if (folder / "JPEGImages").is_dir():
            return folder
    return root


def read_meta(root: Path) -> Meta:
    """What ``meta.json`` says of the objects; empty if there is none.

    Args:
        root: folder that holds ``JPEGImages``.

    Raises:
        StremnError: if the file is damaged.
    """
    path = root / META_FILE
    if not path.is_file():
        return {}
    try:
        videos = json.loads(path.read_text(encoding="utf-8"))["videos"]
        return {
            name: {int(key): tuple(sorted(o["frames"])) for key, o in video["objects"].items()}
            for name, video in videos.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise StremnError(f"{path}: not the meta.json of YouTube-VOS ({said}); extract it again") from error
