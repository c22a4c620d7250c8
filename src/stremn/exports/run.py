"""The exports of one run, and the registry that they are chosen from."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from stremn.errors import StremnError
from stremn.exports.annotation_tools import Cvat, LabelMe, Yolo
from stremn.exports.datasets import Coco, Datumaro, Mots, YouTubeVis
from stremn.exports.exporter import Categories, Exporter, LabelledFrame, VideoFacts
from stremn.exports.pictures import Alpha, CutOut, Gif, ProRes, Vp9, check_behind
from stremn.files.outputs import make_folder

__all__ = ["EXPORTS", "Exports", "clear_exports", "find_export"]

EXPORTS: dict[str, type[Exporter]] = {
    "coco": Coco,
    "ytvis": YouTubeVis,
    "mots": Mots,
    "datumaro": Datumaro,
    "cvat": Cvat,
    "labelme": LabelMe,
    "yolo": Yolo,
    "alpha": Alpha,
    "prores": ProRes,
    "vp9": Vp9,
    "cutout": CutOut,
    "gif": Gif,
}
"""The exporters by name; each has a ``description`` of one line."""


def find_export(name: str) -> type[Exporter]:
    """The exporter of this name.

    Raises:
        StremnError: if there is none, naming those that are there, or a library that it takes is missing.
    """
    if name not in EXPORTS:
        raise StremnError(f"unknown export {name!r}: choose one of {', '.join(EXPORTS)}")
    needs = EXPORTS[name].needs
    if needs is not None and find_spec(needs) is None:
        raise StremnError(f"export {name!r} needs {needs}: pip install 'stremn[export]'")
    return EXPORTS[name]


def clear_exports(folder: Path) -> None:
    """Remove all exports of an earlier run from their folder, and nothing else.

    Raises:
        StremnError: if one cannot be removed.
    """
    for kind in EXPORTS.values():
        kind.clear(folder)


class Exports:
    """Several exports of one video at once, written as its frames come; a context manager.

    However the context is left, the exports are complete up to the last frame written. Without a single frame
    there is none.

    Args:
        folder: for all of them; each has files or a folder of its own in it.
        chosen: keys of ``EXPORTS``.
        names: of objects by id; others are called ``object-ID``. Those of one name are of one category.
        frame_rate: frames per second; ``None`` means 25.
        pixel_aspect: width of a pixel by its height, for players.
        behind: what the cut-out has for a background: a colour, or the path of a picture or video; green by
            default.
        overwrite: replace what an earlier run left of these exports; foreign files stay in any case.

    Raises:
        StremnError: if an export is unknown or lacks its library, a name cannot be written, or without
            ``overwrite`` one was exported already.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> labels = np.zeros((48, 64), np.uint8)
        >>> labels[10:30, 10:40] = 7
        >>> with Exports(folder, ["coco", "mots"], names={7: "dog"}) as exports:
        ...     exports.write(np.zeros((48, 64, 3), np.uint8), labels)
        >>> sorted(path.name for path in Path(folder).iterdir())
        ['coco', 'mots']
    """

    def __init__(
        self,
        folder: str | Path,
        chosen: Sequence[str],
        *,
        names: Mapping[int, str] | None = None,
        frame_rate: Fraction | float | None = None,
        pixel_aspect: Fraction | float = 1,
        behind: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self._kinds = [find_export(name) for name in dict.fromkeys(chosen)]
        self._categories = Categories(names or {})
        if behind is not None:
            if CutOut not in self._kinds:
                raise StremnError(f"background {behind!r} is for the export 'cutout': choose that too")
            check_behind(behind)
        self._video = VideoFacts(frame_rate, pixel_aspect, behind)
        for kind in [] if overwrite else self._kinds:
            if found := kind.found(self.folder):
                raise StremnError(f"{found[0]} was exported already: remove it, or set 'overwrite'")
        self._exporters: list[Exporter] = []
        self._count = 0

    def write(
        self, image: np.ndarray, labels: np.ndarray, *, index: int | None = None, name: str | None = None
    ) -> None:
        """Add a frame to all exports.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            labels: ``(H, W)`` uint8 object ids, 0 = background.
            index: position in the source, from 0; by default how many frames came before.
            name: of the frame's picture, without a suffix; by default the index in five digits.

        Raises:
            StremnError: if the disk is full or the folder cannot be written to.
            ValueError: if the sizes differ.
        """
        if image.shape[:2] != labels.shape:
            raise ValueError(f"labels are {labels.shape}, frame is {image.shape[:2]}")
        if not self._count and self._kinds:
            make_folder(self.folder)
            for kind in self._kinds:
                kind.clear(self.folder)
                self._exporters.append(kind(self.folder, self._video, self._categories))
        index = self._count if index is None else index
        self._count += 1
        frame = LabelledFrame(index, f"{index:05d}" if name is None else name, image, labels)
        for exporter in self._exporters:
            exporter.write(frame)

    def close(self) -> None:
        """Complete all exports; calling it twice does no harm.

        Raises:
            StremnError: if the disk is full.
        """
        with ExitStack() as stack:
            while self._exporters:
                stack.callback(self._exporters.pop().close)

    def __enter__(self) -> Self:
        """Return the exports themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the exports, whatever ended the run, whose error is not covered by one of closing."""
        try:
            self.close()
        except StremnError:
            if error is None:
                raise
