"""Clips whose last frames are known only to whoever remembers what was shown long before."""

from collections.abc import Callable

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clips import ClipRequest, FrameClip, make_frame_clip

__all__ = ["RECALLED", "MemoryClips"]

SHIFT = 4
"""Binary digits after the point in places that OpenCV draws at."""

Draw = Callable[[int], np.ndarray]
"""Draws frame ``t`` ``(size, size, 3)`` uint8 RGB."""


def texture(rng: np.random.Generator, size: int, views: int = 1) -> np.ndarray:
    """Spots of several sizes and a few shapes on top, no place like another.

    Args:
        rng: source of randomness.
        size: of what a frame shows of it, in pixels.
        views: so many such squares fit along a side.

    Returns:
        ``(views * size, views * size, 3)`` uint8.
    """
    side = views * size
    image = np.full((side, side, 3), 128, np.float32)
    for cells, contrast in ((3, 40), (8, 30), (24, 20)):
        spots = rng.normal(0, contrast, (views * cells, views * cells, 3)).astype(np.float32)
        image += cv2.resize(spots, (side, side), interpolation=cv2.INTER_CUBIC)
    found = image.clip(0, 255).astype(np.uint8)
    for _ in range(12 * views**2):
        centre, axes = rng.uniform(0, side, 2), rng.uniform(0.03, 0.1, 2) * size
        _ellipse(found, centre, axes, float(rng.uniform(0, 180)), _colour(rng))
    return found


def periodic(rng: np.random.Generator, size: int) -> Draw:
    """A figure whose limbs each repeat a movement of their own, followed by a camera over a background.

    The period is 5 to 10 frames. A movement is a random sum of three harmonics, which a few frames do not
    tell; what the figure does was shown one period before. The background goes by for 20 frames and back for
    20, so that the last observed frame does not come again.
    """
    background, period, back = texture(rng, size, 2), int(rng.integers(5, 11)), bool(rng.integers(2))
    amplitude = rng.uniform(0.4, 1.0, (10, 3)) / (1, 2, 3)
    phase, home = rng.uniform(0, 2 * np.pi, (10, 3)), rng.uniform(-0.3, 0.3, 8)
    colours, centre = [_colour(rng) for _ in range(5)], rng.uniform(0.42, 0.58, 2) * size
    thick = max(1, round(0.07 * size))

    def draw(t: int) -> np.ndarray:
        angles = 2 * np.pi * (t % period) / period * np.arange(1, 4) + phase
        swing = (amplitude * np.sin(angles)).sum(axis=1)
        way = (20 - abs(t % 40 - 20)) * size / 64
        left = size - way if back else way
        frame = cv2.getRectSubPix(background, (size, size), (left + (size - 1) / 2, size - 0.5))
        body = centre + 0.04 * size * swing[8:]
        for limb, (away, colour) in enumerate(zip(np.pi / 4 * np.arange(1, 9, 2), colours, strict=False)):
            joint = body
            for part in (0, 1):
                angle = away + home[2 * limb + part] + 0.9 * swing[2 * limb + part]
                tip = joint + 0.19 * size * np.array([np.cos(angle), np.sin(angle)])
                cv2.line(frame, _fixed(joint), _fixed(tip), colour, thick, cv2.LINE_AA, SHIFT)
                joint = tip
        _ellipse(frame, body, np.array([0.08, 0.13]) * size, 0.0, colours[4])
        return frame

    return draw


def panning(rng: np.random.Generator, size: int) -> Draw:
    """A camera that goes over a still world for 17 frames, stops for 5, and comes back the same way.

    What it meets on the way back was shown on the way there, the last of it at the very beginning.
    """
    world, angle = texture(rng, size, 3), rng.uniform(0, 2 * np.pi)
    step = size / 17 * np.array([np.cos(angle), np.sin(angle)])

    def draw(t: int) -> np.ndarray:
        t %= 39
        x, y = 1.5 * size - 0.5 + step * min(t, 17, 39 - t)
        return cv2.getRectSubPix(world, (size, size), (x, y))

    return draw


def uncovering(rng: np.random.Generator, size: int) -> Draw:
    """A thing that comes in over a still background within 8 frames, rests for 16, and leaves for 16.

    What comes to light when it leaves was shown before it came.
    """
    background, cover = texture(rng, size), texture(rng, size)
    place, (came, leaves) = rng.uniform(0.4, 0.6, 2) * size, rng.uniform(0, 2 * np.pi, 2)
    axes, turned, outline = rng.uniform(0.22, 0.32, 2) * size, float(rng.uniform(0, 180)), _colour(rng)
    middle = np.full(2, size / 2)
    mask = np.zeros((size, size), np.float32)
    _ellipse(mask, middle, axes, turned, 1.0)
    _ellipse(cover, middle, axes, turned, outline, max(1, round(0.04 * size)))
    way = 0.9 * size * np.array([[np.cos(a), np.sin(a)] for a in (came, leaves)])

    def draw(t: int) -> np.ndarray:
        t %= 40
        x, y = place - middle + way[0] * max(0, 1 - t / 8) + way[1] * max(0, t / 16 - 1.5)
        moved = np.array([[1, 0, x], [0, 1, y]], np.float32)
        share = cv2.warpAffine(mask, moved, (size, size))[..., None]
        thing = cv2.warpAffine(cover, moved, (size, size), borderMode=cv2.BORDER_REPLICATE)
        return (background + share * (thing.astype(np.float32) - background)).round().astype(np.uint8)

    return draw


RECALLED: dict[str, Callable[[np.random.Generator, int], Draw]] = {
    "periodic": periodic,
    "panning": panning,
    "uncovering": uncovering,
}
"""What there is to remember, by name; clips take turns."""


class MemoryClips(Dataset[FrameClip]):
    """Makes endless clips that go on with what was shown long before; each depends on seed and number only.

    Thirty frames are to be observed. What the ten frames after them show is all in these, but not in the last
    few of them. A shorter clip is the beginning of a longer one.

    Args:
        seed: seed of everything random.
        grey: one channel instead of three.
    """

    def __init__(self, seed: int, *, grey: bool = False) -> None:
        self.seed, self.grey = seed, grey

    @staticmethod
    def name(number: int) -> str:
        """What there is to remember in a clip, of :data:`RECALLED`."""
        return [*RECALLED][number % len(RECALLED)]

    def __getitem__(self, request: ClipRequest) -> FrameClip:
        """Make the clip, frames ``(T, C, size, size)``."""
        rng = np.random.default_rng([self.seed, 6, request.number])
        draw = RECALLED[self.name(request.number)](rng, request.size)
        images = np.stack([draw(t) for t in range(request.frames)])
        if self.grey:
            images = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])[..., None]
        return make_frame_clip(images)


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _fixed(place: np.ndarray) -> tuple[int, int]:
    x, y = (place * 2**SHIFT).round().astype(int).tolist()
    return x, y


def _ellipse(
    image: np.ndarray,
    centre: np.ndarray,
    axes: np.ndarray,
    turned: float,
    colour: tuple[int, ...] | float,
    thickness: int = cv2.FILLED,
) -> None:
    values = colour if isinstance(colour, tuple) else (colour,)
    cv2.ellipse(image, _fixed(centre), _fixed(axes), turned, 0, 360, values, thickness, cv2.LINE_AA, SHIFT)
