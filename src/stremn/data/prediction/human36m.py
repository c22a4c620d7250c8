"""Human3.6M (Ionescu et al., TPAMI 2014): the walking videos, in the split of Sec. 4.2."""

import re
from collections import defaultdict
from pathlib import Path

from stremn.data.prediction.random_access import ImageReel, Reel
from stremn.data.prediction.video_files import VideoReel
from stremn.errors import StremnError
from stremn.files.names import VIDEO_SUFFIXES, image_files, natural_key

__all__ = ["HUMAN36M_SPLITS", "read_human36m"]

HUMAN36M_SPLITS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
"""Subjects of the split of Sec. 4.2."""

# "Walking", "Walking 1", "Walking-1", but not "WalkingDog" or "WalkTogether"; then perhaps the camera.
_WALKING = re.compile(r"walking(?:[ _-]?\d)?(?:\.\d+)?", re.IGNORECASE)
_FLAT = re.compile(r"(S\d+_walking(?:[ _-]?\d)?\.\d+)_(\d+)", re.IGNORECASE)


def read_human36m(root: Path | str, split: str = "train") -> list[Reel]:
    """The walking videos of one split, to be read with ``squash`` at 128 pixels, 4 → 4 frames.

    Read are, for each subject, the videos as they are distributed (``S1/Videos/Walking 1.54138969.mp4``, or
    elsewhere below ``S1``); folders of frames (``S1/Walking.54138969/000001.jpg``, or one for the camera in
    that of the action: ``S1/Walking-1/imageSequence/54138969/img_000001.jpg``); and all frames in one
    folder or in ``images`` (``S1_Walking.54138969_000001.jpg``). The videos have 50 frames a second, of
    which the OpenSTL benchmark takes every fifth: that is the ``gap`` of the clips.

    Args:
        root: the folder of the set.
        split: ``train`` (S1, S5-S8) or ``test`` (S9, S11).

    Raises:
        StremnError: if a subject of the split has no walking video.
    """
    root = Path(root)
    if split not in HUMAN36M_SPLITS:
        raise StremnError(f"Human3.6M has no split '{split}': choose one of {', '.join(HUMAN36M_SPLITS)}")
    if not root.is_dir():
        raise StremnError(f"{root}: is no folder; give the folder that holds S1, S5, …")
    flat = _flat(root if not (root / "images").is_dir() else root / "images")
    reels: list[Reel] = []
    missing = []
    for subject in HUMAN36M_SPLITS[split]:
        found = flat.get(f"S{subject}", []) + _of_subject(root / f"S{subject}")
        if not found:
            missing.append(f"S{subject}")
        reels += sorted(found, key=lambda reel: natural_key(reel.name))
    if missing:
        raise StremnError(
            f"{root}: lacks walking videos of {', '.join(missing)}; unpack them as in "
            "S1/Videos/Walking.54138969.mp4"
        )
    return reels


def _of_subject(folder: Path) -> list[Reel]:
    if not folder.is_dir():
        return []
    reels: list[Reel] = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        name = f"{folder.name}/{below.with_suffix('') if path.is_file() else below}"
        if path.is_dir():
            walking = any(_WALKING.fullmatch(part) for part in below.parts)
            if walking and (files := image_files(path)):
                reels.append(ImageReel(name, files))
        elif path.suffix.lower() in VIDEO_SUFFIXES and _WALKING.fullmatch(path.stem):
            reels.append(VideoReel(path, name))
    return reels


def _flat(folder: Path) -> dict[str, list[Reel]]:
    """By subject, the videos whose frames all lie in one folder."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in image_files(folder):
        if match := _FLAT.fullmatch(file.stem):
            groups[match[1]].append(file)
    found: dict[str, list[Reel]] = defaultdict(list)
    for name, files in groups.items():
        found[name.split("_")[0].upper()].append(ImageReel(name, files))
    return found
