"""Which data set a folder holds: told from the folders and files in it."""

from pathlib import Path

from stremn.data.segmentation.coco import CocoStills
from stremn.data.segmentation.stills import Ecssd, HkuIs, Msra10k, SbdStills, StillFolder, StillLayout
from stremn.data.segmentation.videos import Video, read_videos
from stremn.errors import StremnError

__all__ = ["STILL_LAYOUTS", "find_stills", "open_stills", "open_videos"]

STILL_LAYOUTS: tuple[type[StillLayout], ...] = (CocoStills, SbdStills, Ecssd, HkuIs, Msra10k, StillFolder)
"""In the order in which a folder is compared with them."""


def find_stills(root: Path | str) -> list[StillLayout]:
    """The sets of stills in a folder, the one to train on first; empty if it fits no layout.

    Raises:
        StremnError: if it fits one and cannot be used.
    """
    root = Path(root)
    return next((found for layout in STILL_LAYOUTS if (found := layout.find(root))), [])


def open_stills(root: Path | str) -> StillLayout:
    """The stills of a folder, whose layout is told from what is in it.

    Args:
        root: folder of COCO, SBD, ECSSD, HKU-IS, MSRA10K, or with ``images`` and ``masks``; or one JSON file
            of COCO.

    Raises:
        StremnError: if the folder is missing, fits no layout, or fits one and holds no still.
    """
    root = Path(root)
    if not root.exists():
        raise StremnError(f"{root}: does not exist; give a folder of stills with object masks")
    found = find_stills(root)
    if not found:
        known = "; ".join(f"{layout.layout}: {layout.looks_like}" for layout in STILL_LAYOUTS)
        raise StremnError(f"{root}: no layout of stills that is known ({known})")
    return found[0]


def open_videos(entry: str) -> list[Video]:
    """The sequences of a folder, or those of a split of it.

    Args:
        entry: ``root`` or ``root:split``, as ``stremn.data.read_videos`` takes them.

    Raises:
        StremnError: as ``stremn.data.read_videos``.
    """
    # A colon may also be part of a path.
    cuts = [len(entry), *(i for i, character in enumerate(entry) if character == ":")]
    cut = next((i for i in cuts if Path(entry[:i]).is_dir()), None)
    if cut is None:
        raise StremnError(f"{entry.partition(':')[0]}: no such folder; give the root of a video data set")
    return read_videos(entry[:cut], entry[cut + 1 :] or None)
