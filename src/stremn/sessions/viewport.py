"""What a session shows its network: all of a frame, a window, or a crop that goes along."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stremn.memory import surely_visible
from stremn.models import ImageFeatures, SegmentationState, Segmenter
from stremn.models.region import window_of
from stremn.sessions.association import Grid
from stremn.sessions.crop import Crop, largest
from stremn.sessions.inputs import internal_size, resized, to_input
from stremn.sessions.settings import SegmentationSettings
from stremn.sessions.views import ONE_VIEW, View

__all__ = ["Viewport"]

log = logging.getLogger("stremn")


class Viewport:
    """The part of the frames that is looked at, and how it is brought to the network and back.

    Attributes:
        crop: the part; ``None`` is all of the frame.
    """

    def __init__(self, model: Segmenter, settings: SegmentationSettings, device: torch.device) -> None:
        self.model, self.settings, self.device = model, settings, device
        self.crop: Crop | None = None

    def begin(self, masks: Iterable[np.ndarray]) -> None:
        """Take the crop of the first objects ``(H, W)`` bool, where they are small and together."""
        self.crop = Crop.of(*masks) if self.settings.crop else None

    def go_along(self, mask: np.ndarray) -> bool:
        """Bring the crop to where the objects are ``(H, W)`` bool, unless that is nowhere.

        Returns:
            False if they do not fit into it any longer; it then stays, to be left.
        """
        if self.crop is None or not mask.any():
            return True
        moved = self.crop.around(mask)
        self.crop = moved or self.crop
        return moved is not None

    def leave(self, state: SegmentationState, size: tuple[int, int]) -> SegmentationState:
        """Go on in all of the frame (H, W), with the state that this needs."""
        crop, self.crop = self.crop, None
        assert crop is not None
        height, width = self._inner(size)
        with torch.inference_mode():
            memory = state.memory.of_positions(height * width // self.model.stride**2)
            stride = crop.lines // state.previous.shape[-1]
            inner = height // stride, width // stride
            seen = [
                resized(one, (crop.side, crop.side)) for one in state.previous[:, 0].float().cpu().numpy()
            ]
            previous = torch.cat([self._map(crop.paste(one, size), inner) for one in seen])
        return SegmentationState(memory, previous)

    def search(self, image: np.ndarray, state: SegmentationState, certainty: float) -> SegmentationState:
        """Look for an object that is lost in all of the frame, and bring the crop to where it is.

        Args:
            image: the frame ``(H, W, 3)`` uint8.
            state: of the one object, in the crop.
            certainty: least mean probability at which it is found.

        Returns:
            The state in the crop as it is then.
        """
        if self.crop is None or bool((state.previous > 0.5).any()):
            return state
        (features,) = self.encode_all(image)
        nowhere = replace(state, previous=state.previous.new_zeros((1, 1, *features.logit_size)))
        found = self.model.aggregate(self.model.segment(features, nowhere))
        if not bool(surely_visible(found, certainty)):
            return state
        seen = resized(found[0, 0].float().cpu().numpy(), image.shape[:2])
        moved = self.crop.around(largest(seen > 0.5))
        if moved is None:
            return state
        self.crop = moved
        height, width = state.previous.shape[-2:]
        return replace(state, previous=self._map(moved.cut(seen), (height, width)))

    def size(self, whole: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of the part of a frame (H, W)."""
        return whole if self.crop is None else (self.crop.side, self.crop.side)

    def grid(self, whole: tuple[int, int], rows: int) -> Grid:
        """Where the cells of maps of so many rows lie on a frame (H, W)."""
        if self.crop is None:
            return Grid(whole[0] / rows)
        return Grid(self.crop.side / rows, (self.crop.top, self.crop.left))

    def paste(self, labels: np.ndarray, whole: tuple[int, int]) -> np.ndarray:
        """Labels of the part as those of a frame (H, W)."""
        return labels if self.crop is None else self.crop.paste(labels, whole)

    def masks(self, given: Iterable[np.ndarray]) -> Tensor:
        """What of masks ``(H, W)`` bool is in the part ``(O, 1, H', W')`` float32."""
        stacked = np.stack([self._part(mask) for mask in given])
        return torch.from_numpy(stacked).unsqueeze(1).to(self.device).float()

    def encode(
        self, image: np.ndarray, previous: Tensor | None = None, near: Sequence[bool] = ()
    ) -> tuple[ImageFeatures, ...]:
        """What the network sees in the part of a frame ``(H, W, 3)`` uint8, by view.

        Args:
            image: the frame.
            previous: probabilities of the objects in the frame before, ``None`` without a window.
            near: see :func:`stremn.models.region.window_of`.
        """
        shown = [self.shown(image, view) for view in self.settings.views]
        if previous is not None and self.crop is None and self.settings.windows:
            height, width = shown[0].shape[-2:]
            window = window_of(previous, (height // self.model.stride, width // self.model.stride), near)
            if window is not None:
                return (replace(self.model.encode_image(window.of(shown[0])), window=window),)
        return tuple(map(self.model.encode_image, shown))

    def encode_all(self, image: np.ndarray) -> tuple[ImageFeatures, ...]:
        """The same of all of the frame."""
        return Viewport(self.model, self.settings, self.device).encode(image)

    def shown(self, image: np.ndarray, view: View) -> Tensor:
        """The part as the network takes it ``(1, 3, h, w)``."""
        part = self._part(image)
        return view.turn(to_input(part, self._inner((part.shape[0], part.shape[1]), view), self.device))

    def tell_tiny(self, given: Mapping[int, np.ndarray]) -> None:
        """Warn of objects that are too small for the network to see at its internal resolution."""
        height, width = self._part(next(iter(given.values()))).shape
        inner = self._inner((height, width))
        pixels = self.model.stride**2 * height * width / (inner[0] * inner[1])
        tiny = [object_id for object_id, mask in given.items() if 0 < np.count_nonzero(mask) < pixels]
        if tiny:
            some = ", ".join(map(str, tiny[:5])) + (", …" if len(tiny) > 5 else "")
            log.warning(
                "%d of %d objects (%s) have fewer than %d pixels and are easily lost: give a larger size",
                *(len(tiny), len(given), some, round(pixels)),
            )

    def _part(self, pixels: np.ndarray) -> np.ndarray:
        return pixels if self.crop is None else self.crop.cut(pixels)

    def _inner(self, size: tuple[int, int], view: View = ONE_VIEW[0]) -> tuple[int, int]:
        """(h, w) at which the network is shown a part (H, W)."""
        lines = (self.settings.size or 0) if self.crop is None else self.crop.lines
        return internal_size(size, lines, self.model.stride, view.scale)

    def _map(self, pixels: np.ndarray, size: tuple[int, int]) -> Tensor:
        """Probabilities ``(H, W)`` of an object as they go on, ``(1, 1, *size)``."""
        return torch.from_numpy(resized(pixels, size)).to(self.device)[None, None]
