"""SBD, the Semantic Boundaries Dataset: images and instances in MATLAB files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from stremn.data.paired import subfolder
from stremn.data.stills import StillLayout
from stremn.errors import StremnError

__all__ = ["SbdStills"]

VOID = 255


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
        return np.where(labels == VOID, 0, labels).astype(np.uint8)


def _loadmat() -> Callable[[Path], dict[str, Any]]:
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
    except ImportError as error:
        raise StremnError("reading SBD needs scipy: pip install 'stremn[train]'") from error
    return loadmat
