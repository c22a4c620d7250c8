"""Masks for the servers that score where the truth is not public, and the zip that is uploaded there."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stremn.data import Video
from stremn.files import write_mask
from stremn.files.outputs import make_folder, write_zip

__all__ = ["Submission"]


@dataclass(frozen=True)
class Submission:
    """The masks of a data set in the layout that its server takes.

    The server of DAVIS 2017 test-dev wants the sequences at the root of the zip, ``SEQUENCE/00000.png``, and
    refuses a folder around them (CodaLab competition 20516, later 6812; what it says is quoted in
    codalab-competitions issue 2709). Those of YouTube-VOS want ``Annotations/VIDEO/00000.png`` (competitions
    19544 and 20127, later 7685 and 6066; XMem's ``eval.py`` makes both the same way). Every frame of
    ``JPEGImages`` has a mask, a palette PNG whose values are the ids of the objects.

    Attributes:
        folder: is filled as the zip is.
        videos: the sequences, of one data set.
    """

    folder: Path
    videos: Sequence[Video]

    @property
    def root(self) -> Path:
        """The folder that holds the sequences; only YouTube-VOS says where its objects join."""
        return self.folder / ("Annotations" if any(video.joins for video in self.videos) else "")

    def add(self, video: Video, frame: Path, labels: np.ndarray) -> None:
        """Write the mask of a frame of a sequence, labels ``(H, W)`` uint8.

        Raises:
            StremnError: if it cannot be written.
        """
        make_folder(self.root / video.name)
        write_mask(self._mask(video, frame), labels)

    def digest(self, video: Video) -> str | None:
        """Of the masks of a sequence; ``None`` unless all are there."""
        found = hashlib.sha256()
        try:
            for frame in video.frames:
                found.update(hashlib.sha256(self._mask(video, frame).read_bytes()).digest())
        except OSError:
            return None
        return found.hexdigest()

    def write(self, path: Path) -> None:
        """Write the zip of all masks; equal masks give equal bytes.

        Raises:
            StremnError: if it cannot be written.
        """
        masks = [self._mask(video, frame) for video in self.videos for frame in video.frames]
        write_zip(path, {mask.relative_to(self.folder).as_posix(): mask for mask in masks})

    def _mask(self, video: Video, frame: Path) -> Path:
        return self.root / video.name / f"{frame.stem}.png"
