"""Still images with object masks: what every set of them offers, whatever its layout on disk."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from stremn.data.segmentation.images import fit_labels, read_object_labels, read_rgb, read_saliency
from stremn.errors import StremnError
from stremn.files import Legend
from stremn.files.names import IMAGE_SUFFIXES, image_files

__all__ = [
    "Ecssd",
    "HkuIs",
    "Msra10k",
    "PairedStills",
    "SbdStills",
    "Still",
    "StillFolder",
    "StillLayout",
    "StillSet",
    "subfolder",
]


@dataclass(frozen=True)
class Still:
    """An image ``(H, W, 3)`` uint8 RGB with its object ids ``(H, W)`` uint8, 0 = background."""

    image: np.ndarray
    labels: np.ndarray


class StillSet(Protocol):
    """Stills that are read when asked for; clips are made of any such set."""

    @property
    def root(self) -> Path:
        """Where it is, for messages."""

    def __len__(self) -> int:
        """Number of stills."""

    def __getitem__(self, index: int) -> Still:
        """Read one still."""


class StillLayout(ABC):
    """Stills in one layout on disk; a subclass finds the files and reads the masks.

    Attributes:
        layout: name of the layout.
        looks_like: what a folder of this layout holds, for messages.
        root: folder of the set.
        images: image files that have a mask.
        missing: one line for each file that the set needs and lacks.
    """

    layout: ClassVar[str]
    looks_like: ClassVar[str]

    def __init__(self, root: Path, images: list[Path], missing: list[str]) -> None:
        """Take what was found."""
        self.root, self.images, self.missing = root, images, missing

    @classmethod
    @abstractmethod
    def find(cls, root: Path) -> list[Self]:
        """The sets of this layout in a folder, the one to train on first; empty if it is laid out otherwise.

        Raises:
            StremnError: if the folder is of this layout and cannot be used.
        """

    @abstractmethod
    def labels(self, index: int) -> np.ndarray:
        """Object ids of one still ``(H, W)`` uint8, 0 = background.

        Raises:
            StremnError: if the mask is damaged.
        """

    @abstractmethod
    def mask_path(self, index: int) -> Path:
        """The file that holds the mask of one still."""

    def __len__(self) -> int:
        """Number of stills."""
        return len(self.images)

    def __getitem__(self, index: int) -> Still:
        """Read one still.

        Raises:
            StremnError: if a file is damaged or the sizes differ.
        """
        image, labels = read_rgb(self.images[index]), self.labels(index)
        size = (image.shape[0], image.shape[1])
        return Still(image, fit_labels(labels, self.mask_path(index), self.images[index], size))


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
    image_suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    mask_suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES

    def __init__(self, root: Path | str) -> None:
        """List the pairs; what has no partner is left out and noted in ``missing``."""
        root = Path(root)
        masks = self._files(root, self.mask_folder, self.mask_suffixes)
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

    def _files(self, root: Path, name: str, suffixes: frozenset[str]) -> dict[str, Path]:
        folder = subfolder(root, name)
        files = image_files(folder) if folder else []
        return {file.stem: file for file in files if file.suffix.lower() in suffixes}


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
    image_suffixes = frozenset({".jpg", ".jpeg"})
    mask_suffixes = frozenset({".png", ".bmp"})

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """The set, if ``root`` has the folder, with images in it."""
        folder = subfolder(root, cls.image_folder)
        if folder is None or subfolder(root, "gt"):
            return []
        return [cls(root)] if any(p.suffix.lower() in cls.image_suffixes for p in folder.iterdir()) else []


class SbdStills(StillLayout):
    """Stills of SBD: ``img/NAME.jpg`` and ``inst/NAME.mat`` with ``GTinst.Segmentation``; needs scipy.

    Args:
        root: holds the two folders.

    Raises:
        StremnError: if there is no image with a mask, or scipy is not installed.
    """

    layout = "SBD"
    looks_like = "img/ and inst/ with .mat files"

    def __init__(self, root: Path | str) -> None:
        """List the pairs; what has no partner is left out and noted in ``missing``."""
        _loadmat()
        root = Path(root)
        masks = {p.stem: p for p in (root / "inst").glob("*.mat")}
        images = {p.stem: p for p in (root / "img").glob("*.jpg")}
        names = sorted(images.keys() & masks.keys())
        if not names:
            raise StremnError(f"{root}: no image in 'img' has a file of the same name in 'inst'")
        missing = [f"mask of {images[name]}" for name in sorted(images.keys() - masks.keys())]
        missing += [f"image of {masks[name]}" for name in sorted(masks.keys() - images.keys())]
        super().__init__(root, [images[name] for name in names], missing)
        self.masks = [masks[name] for name in names]

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """The set, in ``root`` or in the folders in which it is distributed."""
        for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
            if subfolder(folder, "img") and subfolder(folder, "inst"):
                return [cls(folder)]
        return []

    def mask_path(self, index: int) -> Path:
        """The MATLAB file."""
        return self.masks[index]

    def labels(self, index: int) -> np.ndarray:
        """Ids of the instances."""
        path = self.masks[index]
        try:
            labels = np.asarray(_loadmat()(path)["GTinst"]["Segmentation"][0, 0])
        except Exception as error:  # Damaged files raise whatever the reader stumbles over.
            said = f"{type(error).__name__}: {error}"
            raise StremnError(f"{path}: holds no GTinst.Segmentation ({said}); extract it again") from error
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise StremnError(f"{path}: GTinst.Segmentation is no map of ids; extract it again")
        return Legend(void=True).without_void(labels.astype(np.uint8))[0]


def _loadmat() -> Callable[[Path], dict[str, Any]]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise StremnError("reading SBD needs scipy: pip install 'stremn[train]'") from error
    return loadmat
