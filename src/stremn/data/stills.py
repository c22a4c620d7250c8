"""Still images with object masks: an ``images`` folder and a ``masks`` folder with the same names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stremn.data.images import check_sizes, read_labels, read_rgb
from stremn.errors import StremnError

__all__ = ["Still", "StillFolder"]


@dataclass(frozen=True)
class Still:
    """An image ``(H, W, 3)`` uint8 RGB with its object ids ``(H, W)`` uint8, 0 = background."""

    image: np.ndarray
    labels: np.ndarray


class StillFolder:
    """Stills of one folder, read when asked for.

    Args:
        root: holds ``images/NAME.jpg`` (or png) and ``masks/NAME.png``.

    Raises:
        StremnError: if there is no image with a mask.
    """

    def __init__(self, root: Path | str) -> None:
        """List the pairs; images without a mask are left out."""
        self.root = root = Path(root)
        masks = {p.stem: p for p in (root / "masks").glob("*.png")}
        images = sorted(p for p in (root / "images").glob("*") if p.stem in masks)
        if not images:
            raise StremnError(f"{root}: no image in 'images' has a mask of the same name in 'masks'")
        self.pairs = [(image, masks[image.stem]) for image in images]

    def __len__(self) -> int:
        """Number of stills."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Still:
        """Read one still.

        Raises:
            StremnError: if a file is damaged or the sizes differ.
        """
        image_path, mask_path = self.pairs[index]
        still = Still(read_rgb(image_path), read_labels(mask_path))
        check_sizes(mask_path, still.image, still.labels)
        return still
