"""Still images with object masks, in every layout on disk, which is told from what a folder holds."""

import json
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import cv2
import numpy as np

from stremn.data.segmentation.coco import draw_instance, image_folder, read_instances
from stremn.data.segmentation.images import fit_labels, read_object_labels, read_rgb
from stremn.errors import StremnError
from stremn.files import Legend
from stremn.files.names import IMAGE_SUFFIXES, natural_key

__all__ = ["STILL_LAYOUTS", "Still", "StillFolder", "StillLayout", "StillSet", "find_stills", "open_stills"]


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
        return Still(image, fit_labels(labels, self.mask_path(index), self.images[index], image.shape[:2]))


class PairedStills(StillLayout):
    """Stills of a folder of images and a folder of masks with the same names, in capitals or not.

    What has no partner is left out and noted in ``missing``.

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
        root = Path(root)
        masks = _by_name(root, self.mask_folder, self.mask_suffixes)
        images = _by_name(root, self.image_folder, self.image_suffixes)
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
        both = _subfolder(root, cls.image_folder) and _subfolder(root, cls.mask_folder)
        return [cls(root)] if both else []

    def mask_path(self, index: int) -> Path:
        """The mask file."""
        return self.masks[index]


def _subfolder(root: Path, name: str) -> Path | None:
    if (root / name).is_dir():
        return root / name
    if not root.is_dir():
        return None
    return next((p for p in sorted(root.iterdir()) if p.name.lower() == name.lower() and p.is_dir()), None)


def _by_name(root: Path, name: str, suffixes: frozenset[str]) -> dict[str, Path]:
    folder = _subfolder(root, name)
    files = sorted(folder.iterdir(), key=lambda file: natural_key(file.name)) if folder else []
    wanted = (file for file in files if file.suffix.lower() in suffixes and not file.name.startswith("."))
    # A link whose target is not there stands for a file that is lost.
    return {file.stem: file for file in wanted if not file.is_dir()}


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
        return (cv2.cvtColor(read_rgb(self.masks[index]), cv2.COLOR_RGB2GRAY) > 127).astype(np.uint8)


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
        if _subfolder(root, "gt") or not _by_name(root, cls.image_folder, cls.image_suffixes):
            return []
        return [cls(root)]


class SbdStills(PairedStills):
    """Stills of SBD: ``img/NAME.jpg`` and ``inst/NAME.mat`` with ``GTinst.Segmentation``; needs scipy.

    Args:
        root: holds the two folders.

    Raises:
        StremnError: if there is no image with a mask, or scipy is not installed.
    """

    layout = "SBD"
    looks_like = "img/ and inst/ with .mat files"
    image_folder, mask_folder = "img", "inst"
    image_suffixes, mask_suffixes = frozenset({".jpg"}), frozenset({".mat"})

    def __init__(self, root: Path | str) -> None:
        try:
            from scipy.io import loadmat  # type: ignore[import-untyped]
        except ImportError as error:
            raise StremnError("reading SBD needs scipy: pip install 'stremn[train]'") from error
        super().__init__(root)
        self._loadmat = loadmat

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """The set, in ``root`` or in the folders in which it is distributed."""
        for folder in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset"):
            if found := super().find(folder):
                return found
        return []

    def labels(self, index: int) -> np.ndarray:
        """Ids of the instances."""
        path = self.masks[index]
        try:
            labels = np.asarray(self._loadmat(path)["GTinst"]["Segmentation"][0, 0])
        except Exception as error:  # Damaged files raise whatever the reader stumbles over.
            said = f"{type(error).__name__}: {error}"
            raise StremnError(f"{path}: holds no GTinst.Segmentation ({said}); extract it again") from error
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise StremnError(f"{path}: GTinst.Segmentation is no map of ids; extract it again")
        return Legend(void=True).without_void(labels.astype(np.uint8))[0]


class CocoStills(StillLayout):
    """Stills of COCO: ``annotations/instances_NAME.json`` and the folder of images ``NAME``.

    Crowd regions are left out; so are images without an instance. Absent images are noted in ``missing``.

    Args:
        file: the JSON file; the images are in ``NAME``, ``images/NAME`` or ``images`` beside its folder.

    Raises:
        StremnError: if the file is damaged, or none of its images is there.
    """

    layout = "COCO"
    looks_like = "annotations/instances_NAME.json and NAME/ with the images"

    def __init__(self, file: Path | str) -> None:
        self.file = file = Path(file)
        records = read_instances(file)
        folder = image_folder(file)
        there = {entry.name for entry in os.scandir(folder)}
        missing = [f"{folder / record.name}" for record in records if record.name not in there]
        self._records = [record for record in records if record.name in there]
        if not self._records:
            raise StremnError(f"{file}: none of its images is in {folder}; put them there")
        super().__init__(file.parent.parent, [folder / record.name for record in self._records], missing)

    @classmethod
    def find(cls, root: Path) -> list[Self]:
        """One set for each JSON file whose images are there, those of training first."""
        files = [root] if root.suffix == ".json" else sorted((root / "annotations").glob("instances_*.json"))
        return [cls(file) for file in sorted(files, key=lambda file: "train" not in file.name)]

    def mask_path(self, index: int) -> Path:
        """The JSON file."""
        return self.file

    def labels(self, index: int) -> np.ndarray:
        """Ids by size: 1 is the largest instance, and smaller ones lie above larger ones."""
        _, height, width, segmentations = self._records[index]
        labels = np.zeros((height, width), np.uint8)
        try:
            # Ids from 200 on are those of pasted cut-outs.
            for number, segmentation in enumerate(json.loads(segmentations)[:199], start=1):
                labels[draw_instance(segmentation, height, width) > 0] = number
        except (ValueError, TypeError, KeyError) as error:
            name = self.images[index].name
            raise StremnError(f"{self.file}: segmentation of {name} is damaged ({error})") from error
        return labels


STILL_LAYOUTS: tuple[type[StillLayout], ...] = (CocoStills, SbdStills, Ecssd, HkuIs, Msra10k, StillFolder)
"""In the order in which a folder is compared with them."""


def find_stills(root: Path) -> list[StillLayout]:
    """The sets of stills in a folder, the one to train on first; empty if it fits no layout.

    Raises:
        StremnError: if it fits one and cannot be used.
    """
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
