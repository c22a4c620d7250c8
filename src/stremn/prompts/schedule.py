"""Which prompts come with which frame; stands in the place of :class:`stremn.files.MaskSchedule`."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from stremn.errors import StremnError
from stremn.files import Frame, MaskSchedule
from stremn.prompts.mask import mask_of
from stremn.prompts.shapes import Prompt, Size

__all__ = ["PromptSchedule", "Shown"]

log = logging.getLogger("stremn")


@dataclass(frozen=True)
class Shown:
    """An object shown in a frame.

    Attributes:
        object_id: from 1 to 255.
        prompt: how.
        frame: index or name of the frame; ``None`` is the first one that comes.
        said: what shows it, for errors.
        size: ``(H, W)`` of the picture on which it was drawn, where that is known.
    """

    object_id: int
    prompt: Prompt
    frame: int | str | None
    said: str
    size: Size | None = None


class PromptSchedule:
    """The objects shown in a video, each made a mask when its frame comes.

    Args:
        shown: at most once in a frame for each object.
        masks: objects that are given as masks in the same video.
    """

    def __init__(self, shown: Sequence[Shown], masks: MaskSchedule | None = None) -> None:
        self._waiting = list(shown)
        self._masks = masks
        self._begun = False

    def check(self, begin: int, count: int | None, names: Sequence[str] | None) -> None:
        """Refuse a video if nothing is shown in any of the frames that are followed.

        Args:
            begin: index of the first of them.
            count: frames of the video, ``None`` where it is not known.
            names: of all frames; ``None`` where they are the index in five digits.

        Raises:
            StremnError: naming what is shown elsewhere.
        """
        places = {} if names is None else {name: index for index, name in enumerate(names)}
        given: list[tuple[str, int | str | None]] = [(shown.said, shown.frame) for shown in self._waiting]
        if self._masks is not None:
            given += [(f"mask {name}", name) for name in self._masks.frames] or [("mask", None)]
        for _, frame in given:
            if frame is None:
                return
            index = places[frame] if names and isinstance(frame, str) else int(frame)
            if begin <= index and (count is None or index < count):
                return
        said, frame = given[0]
        last = "the end" if count is None else str(count - 1)
        raise StremnError(
            f"{said}: frame {frame} is not followed, nor is another one that shows an object: frames {begin} "
            f"to {last} are"
        )

    def shows(self, frame: Frame) -> bool:
        """Whether objects are shown in this frame, which is not the first one."""
        return bool(self._now(frame)) or (self._masks is not None and frame.name in self._masks.frames)

    def mends(self, frame: Frame, object_ids: Collection[int]) -> bool:
        """Whether points without a box show in this frame where a mask of such an object is wrong."""
        return any(shown.object_id in object_ids and shown.prompt.mends for shown in self._now(frame))

    def at(self, frame: Frame, found: np.ndarray | None = None) -> np.ndarray | None:
        """The mask of this frame, ``(H, W)`` uint8 labels of its size, or ``None`` where none was given.

        Where objects overlap, the smaller one is on top.

        Args:
            frame: the frame.
            found: labels that were found in it; what these hold of an object is mended by points on it
                without a box.

        Raises:
            StremnError: if a prompt cannot be used with this frame.
        """
        now = self._now(frame)
        self._begun = True
        labels = None if self._masks is None else self._masks.at(frame)
        if not now:
            return labels
        self._waiting = [shown for shown in self._waiting if shown not in now]
        made = []
        size = (frame.image.shape[0], frame.image.shape[1])
        for shown in now:
            if shown.size not in (None, size):
                raise StremnError(
                    f"{shown.said}: drawn on a picture of {shown.size[1]}x{shown.size[0]}, the frames are "
                    f"{size[1]}x{size[0]}: draw on a frame of the video as it is"
                )
            before = None if found is None or not shown.prompt.mends else found == shown.object_id
            try:
                made.append((shown, mask_of(frame.image, shown.prompt, before)))
            except StremnError as error:
                raise StremnError(f"{shown.said}: {error}") from error
        labels = np.zeros(size, np.uint8) if labels is None else labels
        for shown, mask in sorted(made, key=lambda pair: -int(pair[1].sum())):
            labels[mask] = shown.object_id
        for shown, _ in made:
            if not (labels == shown.object_id).any():
                raise StremnError(f"{shown.said}: object {shown.object_id} is covered by the other objects")
        return labels

    def _now(self, frame: Frame) -> list[Shown]:
        keys = (frame.index, frame.name) if self._begun else (frame.index, frame.name, None)
        return [shown for shown in self._waiting if shown.frame in keys]

    def tell_unused(self) -> None:
        """Warn of what is shown in frames that never came."""
        for shown in self._waiting:
            log.warning("%s: frame %s was not among those that were followed", shown.said, shown.frame)
