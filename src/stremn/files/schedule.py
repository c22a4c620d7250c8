"""Which mask comes with which frame: one image for the first frame, or a folder named like the frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stremn.errors import StremnError
from stremn.files.colours import Legend
from stremn.files.frames import Frame, log
from stremn.files.masks import read_mask
from stremn.files.names import image_files, some_of, tell_left_out

__all__ = ["MaskSchedule", "mask_folder"]


def mask_folder(path: str | Path, frame_names: Sequence[str] | None) -> dict[str, Path]:
    """The masks of a folder by the name of their frame.

    Args:
        path: folder of mask images.
        frame_names: names of the frames; ``None`` for a video, whose frames are known by number only.

    Raises:
        StremnError: if the folder holds no image, or no mask is named like a frame.
    """
    path = Path(path)
    files = image_files(path)
    if not files:
        raise StremnError(f"folder of masks {path} holds no image: give palette PNGs named like the frames")
    tell_left_out(path)
    masks: dict[str, Path] = {}
    for file in files:
        name = _video_name(file.stem) if frame_names is None else file.stem
        if name in masks:
            raise StremnError(f"{masks[name].name} and {file.name} in {path} are for one frame: keep one")
        masks[name] = file
    known = set(filter(str.isdecimal, masks) if frame_names is None else frame_names)
    matched = {name: file for name, file in masks.items() if name in known}
    if not matched:
        wanted = "00000, 00001, 00002" if frame_names is None else some_of(frame_names, 3)
        found = some_of(list(masks), 3)
        raise StremnError(f"no mask in {path} is named like a frame: masks are {found}; frames are {wanted}")
    if unused := [file.name for name, file in masks.items() if name not in matched]:
        some = some_of(unused, 3)
        log.warning("%s: %d masks match no frame and are not used: %s", path, len(unused), some)
    return matched


def _video_name(stem: str) -> str:
    """The name of a frame by its number: ``7`` and ``000007`` both mean frame 00007."""
    return f"{int(stem):05d}" if stem.isascii() and stem.isdecimal() else stem


class MaskSchedule:
    """The masks given for a video, each read when its frame comes.

    Args:
        path: one image, for the first frame that comes, or a folder of masks named like the frames.
        frame_names: names of the frames where known, else ``None``.

    Raises:
        StremnError: if the path is missing, or no mask of the folder is named like a frame.
    """

    def __init__(self, path: str | Path, frame_names: Sequence[str] | None = None) -> None:
        path = Path(path).expanduser()
        if not path.exists():
            raise StremnError(f"mask {path} does not exist: give an image file, or a folder of them")
        self._single = None if path.is_dir() else path
        self._by_name = mask_folder(path, frame_names) if path.is_dir() else {}
        self.frames = tuple(self._by_name)
        """Names of the frames that have a mask; empty if it is one image, for the first that comes."""
        self._legend = Legend()
        self._told: set[str] = set()
        self._read_any = False

    def at(self, frame: Frame) -> np.ndarray | None:
        """The mask of this frame, ``(H, W)`` uint8 labels of its size, or ``None`` where none was given.

        The first mask must hold an object; later ones may be empty. What had to be repaired or mapped is
        logged as a warning, each kind of remark once.

        Raises:
            StremnError: if the mask cannot be used with this frame.
        """
        if self._single:
            path = None if self._read_any else self._single
        else:
            path = self._by_name.get(frame.name)
        if path is None:
            return None
        mask = read_mask(
            path,
            size=(frame.image.shape[0], frame.image.shape[1]),
            orientation=frame.orientation,
            allow_empty=self._read_any,
            legend=self._legend,
        )
        self._read_any = True
        for note in mask.notes:
            # Numbers differ from mask to mask; a new mapping of colours is always told.
            kind = note if note.startswith("colours") else note.split(":")[0]
            if kind not in self._told:
                self._told.add(kind)
                log.warning("mask %s: %s", path.name, note)
        return mask.labels
