"""Stills whose masks are images of the same names: one class for each pair of folder names."""

from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from stremn.data.images import IMAGE_SUFFIXES, read_object_labels, read_saliency
from stremn.data.stills import StillLayout
from stremn.errors import StremnError

__all__ = ["Ecssd", "HkuIs", "Msra10k", "PairedStills", "StillFolder", "subfolder"]

MASK_SUFFIXES = {".png", ".bmp"}


def subfolder(root: Path, name: str) -> Path | None:
    """A folder in ``root`` by its name, in capitals or not; ``None`` if there is none."""
    if (root / name).is_dir():
        return root / name
    if not root.is_dir():
        return None
    return next((p for p in sorted(root.iterdir()) if p.name.lower() == name.lower() and p.is_dir()), None)


class PairedStills(StillLayout):
    """Stills of a folder of images and a folder of masks with the same names.

    Args:
        root: holds the two folders.

    Raises:
        StremnError: if there is no image with a mask.
    """

    image_folder: ClassVar[str]
    mask_folder: ClassVar[str]
    image_suffixes: ClassVar[set[str]] = IMAGE_SUFFIXES

    def __init__(self, root: Path | str) -> None:
        """List the pairs; what has no partner is left out and noted in ``missing``."""
        root = Path(root)
        masks = self._files(root, self.mask_folder, MASK_SUFFIXES)
        images = self._files(root, self.image_folder, self.image_suffixes)
        names = sorted(images.keys() & masks.keys())
        if not names:
            raise StremnError(
                f"{root}: no image in '{self.image_folder}' has a mask of the same name in "
                f"'{self.mask_folder}'; check the folder"
            )
        missing = [f"mask of {images[name]}" for name in sorted(images.keys() - masks.keys())]
        missing += [f"image of {masks[name]}" for name in sorted(masks.keys() - images.keys())]
        super().__init__(root, [images[name] for name in names], missing)
        self.masks = [masks[name] for name in names]

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """The set, if ``root`` has both folders."""
        both = subfolder(root, cls.image_folder) and subfolder(root, cls.mask_folder)
        return [cls(root)] if both else []

    def mask_path(self, index: int) -> Path:
        """The mask file."""
        return self.masks[index]

    def _files(self, root: Path, name: str, suffixes: set[str]) -> dict[str, Path]:
        folder = subfolder(root, name)
        if folder is None:
            return {}
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != ".")
        return {p.stem: p for p in files}


class StillFolder(PairedStills):
    """Stills of a folder with ``images/NAME.jpg`` (or png) and ``masks/NAME.png``."""

    layout = "images + masks"
    looks_like = "images/ and masks/ with the same names"
    image_folder, mask_folder = "images", "masks"

    def labels(self, index: int) -> np.ndarray:
        """Object ids, or 1 for what is white in a black and white mask."""
        return read_object_labels(self.masks[index])


class _Salient(PairedStills):
    """One salient object an image, white on black."""

    def labels(self, index: int) -> np.ndarray:
        """1 where the grey mask is brighter than half."""
        return read_saliency(self.masks[index])


class Ecssd(_Salient):
    """ECSSD: ``images/NAME.jpg`` and ``ground_truth_mask/NAME.png``."""

    layout = "ECSSD"
    looks_like = "images/ and ground_truth_mask/"
    image_folder, mask_folder = "images", "ground_truth_mask"


class HkuIs(_Salient):
    """HKU-IS: ``imgs/NAME.png`` and ``gt/NAME.png``."""

    layout = "HKU-IS"
    looks_like = "imgs/ and gt/"
    image_folder, mask_folder = "imgs", "gt"


class Msra10k(_Salient):
    """MSRA10K: ``Imgs/NAME.jpg`` beside ``Imgs/NAME.png``."""

    layout = "MSRA10K"
    looks_like = "Imgs/ with NAME.jpg beside NAME.png"
    image_folder = mask_folder = "Imgs"
    image_suffixes: ClassVar[set[str]] = {".jpg", ".jpeg"}

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """The set, if ``root`` has the folder, with images in it."""
        folder = subfolder(root, cls.image_folder)
        if folder is None or subfolder(root, "gt"):
            return []
        return [cls(root)] if any(p.suffix.lower() in cls.image_suffixes for p in folder.iterdir()) else []
