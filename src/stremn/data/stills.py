"""Still images with object masks: what every set of them offers, whatever its layout on disk."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np

from stremn.data.images import check_sizes, read_rgb

__all__ = ["Still", "StillLayout", "StillSet"]


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
        """See the class."""
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
        still = Still(read_rgb(self.images[index]), self.labels(index))
        check_sizes(self.mask_path(index), still.image, still.labels)
        return still
