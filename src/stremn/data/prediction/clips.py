"""Clips without masks, cut from videos: at random to train on, in order for a test."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clips import ClipRequest, FrameClip, make_frame_clip
from stremn.data.prediction.reels import FrameCache, Framing, Reel
from stremn.errors import StremnError

__all__ = ["CACHE_BYTES", "FrameClips", "FrameWindows"]


CACHE_BYTES = 2**30
"""Memory for decoded frames, in each process that reads clips."""


class FrameClips(Dataset[FrameClip]):
    """Makes endless clips of videos; clip ``i`` depends only on the seed and ``i``.

    Each is a random crop of a random place in a random video, mirrored half of the time.

    Args:
        reels: the videos; those shorter than a clip are passed over.
        seed: seed of everything random.
        grey: one channel instead of three.
        squash: scale both sides to the size, else the shorter side and crop the longer one.
        zoom: the largest factor by which a crop enlarges what it shows, 1 or more; 1 crops only what
            does not fit.
        mirror: whether clips are mirrored.
        vary: whether clips are turned by quarters, played backwards, or to and fro, or with frames that
            come twice, or trembling, and brightened or darkened.
        gap: frames of a clip are this far apart in the video; 1 takes each.

    Raises:
        StremnError: if there is no video, or ``zoom`` or ``gap`` is below 1.
    """

    def __init__(
        self,
        reels: Sequence[Reel],
        *,
        seed: int,
        grey: bool = False,
        squash: bool = False,
        zoom: float = 1.0,
        mirror: bool = True,
        vary: bool = False,
        gap: int = 1,
    ) -> None:
        if not reels:
            raise StremnError("there is no video to cut clips from; give a folder that holds some")
        if zoom < 1 or gap < 1:
            raise StremnError(f"zoom {zoom} and gap {gap} of clips must be 1 or more")
        self.reels, self.seed, self.grey, self.squash = tuple(reels), seed, grey, squash
        self.zoom, self.mirror, self.vary, self.gap = zoom, mirror, vary, gap
        self.cache = FrameCache(CACHE_BYTES)

    def __getitem__(self, request: ClipRequest) -> FrameClip:
        """Make the clip, frames ``(T, C, size, size)``.

        Raises:
            StremnError: if a file is damaged, or no video has as many frames.
        """
        rng = np.random.default_rng([self.seed, 5, request.number])
        reel, start = self._place(rng, request.frames)
        side = round(request.size * self.zoom)
        indices = range(start, start + self.gap * request.frames, self.gap)
        images = reel.read(indices, Framing(side, self.squash, self.grey), self.cache)
        images = self._crop(rng, images, request.size, side)
        if self.mirror and rng.random() < 0.5:
            images = images[:, :, ::-1]
        if self.vary:
            images = images[_order(rng, len(images))]
            images = np.rot90(images, int(rng.integers(4)), axes=(1, 2))[:: rng.choice([-1, 1])]
            levels = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-0.4, 0.4)) * rng.uniform(0.7, 1)
            images = (255 * levels).round().astype(np.uint8)[images]
        return make_frame_clip(images)

    def _place(self, rng: np.random.Generator, frames: int) -> tuple[Reel, int]:
        needed = (frames - 1) * self.gap + 1
        for index in rng.permutation(len(self.reels)):
            reel = self.reels[index]
            starts = [(first, end - needed + 1) for first, end in reel.spans if end - first >= needed]
            if starts:
                lengths = np.array([end - first for first, end in starts])
                first, end = starts[rng.choice(len(starts), p=lengths / lengths.sum())]
                return reel, int(rng.integers(first, end))
        raise StremnError(
            f"{self.reels[0].path}: this video and all others are shorter than the {needed} frames that a "
            "clip spans; set fewer 'frames' or a smaller 'gap'"
        )

    def _crop(self, rng: np.random.Generator, images: np.ndarray, size: int, side: int) -> np.ndarray:
        part = int(rng.integers(size, side + 1))
        top, left = (int(rng.integers(0, limit - part + 1)) for limit in images.shape[1:3])
        images = images[:, top : top + part, left : left + part]
        if part == size:
            return images
        scaled = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
        return np.stack(scaled).reshape(len(images), size, size, -1)


def _order(rng: np.random.Generator, count: int) -> np.ndarray:
    """The order of frames: mostly as they are, else to and fro, some of them twice, or trembling."""
    steps, (kind, period) = np.ones(count, int), (rng.random(), int(rng.integers(2, 10)))
    if kind < 0.15:
        steps[np.arange(count) // period % 2 == 1] = -1
    elif kind < 0.3:
        steps[::period] = 0
    elif kind < 0.45:
        steps = rng.choice([-1, 0, 1, 1], count)
    places = steps.cumsum()
    return (places - places.min()).clip(0, count - 1)


class FrameWindows(Dataset[FrameClip]):
    """Lists the clips of a test: all places at a regular distance in every video, none of them twice.

    Clip ``i`` of ``len()`` is always the same: the middle of the picture, not mirrored. The length of every
    video must be known, but none is decoded before its clips are asked for.

    Args:
        reels: the videos; those shorter than a clip give none.
        frames: T.
        size: sides of the clips in pixels.
        grey: one channel instead of three.
        squash: scale both sides to the size, else the shorter side and cut off what is beside the middle.
        gap: frames are this far apart in the video.
        stride: frames from the start of one clip to that of the next, or a function that tells it of each
            video; by default clips lie end to end.

    Raises:
        StremnError: if no video has as many frames, or one cannot be read.
    """

    def __init__(
        self,
        reels: Sequence[Reel],
        *,
        frames: int,
        size: int,
        grey: bool = False,
        squash: bool = False,
        gap: int = 1,
        stride: int | Callable[[Reel], int] | None = None,
    ) -> None:
        self.frames, self.size, self.gap = frames, size, gap
        self.framing, self.cache = Framing(size, squash, grey), FrameCache(CACHE_BYTES)
        needed = (frames - 1) * gap + 1
        self.windows: list[tuple[Reel, int]] = []
        for reel in reels:
            step = stride(reel) if callable(stride) else stride or frames * gap
            for first, end in reel.spans:
                self.windows += [(reel, start) for start in range(first, end - needed + 1, step)]
        if not self.windows:
            where = reels[0].path if reels else "the list of videos"
            raise StremnError(
                f"{where}: no video has {needed} frames; give longer videos or a shorter horizon"
            )

    def __len__(self) -> int:
        """Count the clips."""
        return len(self.windows)

    def __getitem__(self, request: ClipRequest | int) -> FrameClip:
        """Read one clip, frames ``(T, C, size, size)``.

        Raises:
            IndexError: past the last clip.
            StremnError: if the request is of another shape than the list, or a file is damaged.
        """
        number = request if isinstance(request, int) else request.number
        if not isinstance(request, int) and (request.frames, request.size) != (self.frames, self.size):
            raise StremnError(
                f"clips of {request.frames} frames of {request.size} pixels are asked for, the list has "
                f"{self.frames} of {self.size}; make both alike"
            )
        if not 0 <= number < len(self):
            raise IndexError(number)
        reel, start = self.windows[number]
        indices = range(start, start + self.gap * self.frames, self.gap)
        images = reel.read(indices, self.framing, self.cache)
        top, left = ((limit - self.size) // 2 for limit in images.shape[1:3])
        return make_frame_clip(images[:, top : top + self.size, left : left + self.size])
