"""Clips of objects that look alike and cross; photographs are their surface and background."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from stremn.data.clips import Clip, ClipRequest
from stremn.data.segmentation.motion import CONTROLS, Motion, Rng, random_motion
from stremn.data.segmentation.sprites import Sprite, cut_out, first_usable, random_still
from stremn.data.segmentation.stills import StillSet

__all__ = ["CrossingClips"]

SIDE = 256
"""Of the square that a figure is drawn on, in pixels."""


class CrossingClips(Dataset[Clip]):
    """Makes endless clips of two or three look-alikes that cross; clip ``i`` depends only on seed and ``i``.

    A figure, a body with limbs under a photograph, is copied; copies differ a little in colour and size. They
    come from different sides and meet, one always in front of the other; then they go on, or go back where
    they came from, which only their way tells. In a third of the clips one copy is not followed. Masks are
    exact.

    Args:
        stills: photographs; their masks are not used.
        objects: O, the most objects to follow.
        seed: seed of everything random.
    """

    def __init__(self, stills: Sequence[StillSet], *, objects: int = 3, seed: int) -> None:
        self.stills, self.objects, self.seed = stills, objects, seed

    def __getitem__(self, request: ClipRequest) -> Clip:
        """Make the clip."""
        rng = np.random.default_rng([self.seed, 7, request.number])
        where = ", ".join(str(folder.root) for folder in self.stills)
        return first_usable(lambda: self._attempt(rng, request.frames, request.size), where)

    def _attempt(self, rng: Rng, frames: int, size: int) -> Clip | None:
        copies = int(rng.integers(2, 4))
        images, labels = _background(rng, self.stills, frames, size)
        picture, extent = _figure(rng, self.stills), size * rng.uniform(0.18, 0.28)
        middle, turned = size * rng.uniform(0.4, 0.6, 2), rng.uniform(0, 2 * np.pi)
        meet, bounces = frames * rng.uniform(0.4, 0.6), rng.random() < 0.5
        left_out = int(rng.integers(copies)) if rng.random() < 1 / 3 else -1
        ways = turned + 2 * np.pi * np.arange(copies) / copies
        for number, angle in enumerate(ways):
            look = picture.copy()
            look[..., :3] = (look[..., :3] * rng.uniform(0.93, 1.07, 3)).clip(0, 1).astype(np.float32)
            places = _way(rng, frames, angle, meet, bounces) * extent + middle
            motion = _motion(rng, places, extent / SIDE * rng.uniform(0.9, 1.1))
            Sprite(look, motion).paste(images, labels, 0 if number == left_out else number + 1)
        counts = np.stack([np.bincount(ids.ravel(), minlength=copies + 1)[1:] for ids in labels])
        if (counts[0] < 0.5 * counts.max(axis=0)).any():
            return None  # what is given in the first frame shall be the object, not an end of it
        ids = (np.flatnonzero(counts.any(axis=0)) + 1)[: self.objects]
        lookup = np.zeros(256, np.int64)
        lookup[ids] = np.arange(1, len(ids) + 1)
        return Clip(
            torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
            torch.from_numpy(lookup[np.stack(labels)]),
            torch.arange(self.objects) < len(ids),
        )


def _background(
    rng: Rng, stills: Sequence[StillSet], frames: int, size: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Film a photograph, with no ids."""
    image = random_still(rng, stills).image
    height, width = image.shape[:2]
    scale = size / min(height, width) * np.exp(rng.uniform(0, 0.4))
    motion = random_motion(
        rng,
        frames,
        center=(width / 2, height / 2),
        target=(size / 2, size / 2),
        scale=scale,
        speed=size * rng.uniform(0, 0.01),
        turn=0.5,
        zoom=0.01,
    )
    nothing = np.zeros((height, width), np.uint8)
    return motion.film([image] * frames, [nothing] * frames, size, cv2.BORDER_REFLECT_101)


def _figure(rng: Rng, stills: Sequence[StillSet]) -> np.ndarray:
    """Draw a body with up to four limbs, under a part of a photograph ``(SIDE, SIDE, 4)``."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = np.arange(2, 6)[:, None]
    rim = (rng.normal(0, 0.12, (4, 1)) * np.cos(waves * angles + rng.uniform(0, 6, (4, 1)))).sum(axis=0)
    points = (
        0.24 * SIDE * np.clip(1 + rim, 0.5, 1.5) * [np.cos(angles), rng.uniform(0.6, 1.4) * np.sin(angles)]
    )
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(mask, [(points.T + SIDE / 2).astype(np.int32)], 1)
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(5))):
        tip = SIDE / 2 * (1 + rng.uniform(0.6, 0.85) * np.array([np.cos(angle), np.sin(angle)]))
        cv2.line(mask, (SIDE // 2, SIDE // 2), tuple(tip.astype(int).tolist()), 1, int(rng.integers(12, 28)))
    image = random_still(rng, stills).image
    side = int(min(image.shape[:2]) * rng.uniform(0.4, 1.0))
    top, left = (int(rng.integers(n - side + 1)) for n in image.shape[:2])
    surface = cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE))
    return cut_out(surface, mask)


def _way(rng: Rng, frames: int, angle: float, meet: float, bounces: bool) -> np.ndarray:
    """Places ``(T, 2)`` in extents of the figure, from 1.4 of them away to the meeting and on."""
    along = 1.4 * (np.arange(frames) - meet) / meet
    along = np.abs(along) if bounces else -along
    aside = rng.uniform(-0.25, 0.25)
    forward = np.array([np.cos(angle), np.sin(angle)])
    # Those who turn back touch and do not pass.
    return np.outer(along + 0.25 * bounces, forward) + aside * np.array([-forward[1], forward[0]])


def _motion(rng: Rng, places: np.ndarray, scale: float) -> Motion:
    """A figure whose middle is at the places, that turns, swings and bends smoothly."""
    t = np.arange(len(places))[:, None, None, None]
    pace, phase = rng.uniform(0.15, 0.5), rng.uniform(0, 6, (2, CONTROLS, CONTROLS, 2))
    bends = rng.normal(0, 0.035 * SIDE, (CONTROLS, CONTROLS, 2)) * np.sin(pace * t + phase[0])
    angles = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.03) * t.ravel() + 0.2 * np.sin(pace * t.ravel())
    centre, matrices = np.full(2, SIDE / 2), []
    for place, angle in zip(places, angles, strict=True):
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[c, -s], [s, c]])
        matrices.append(np.column_stack([linear, place - linear @ centre]))
    return Motion(np.stack(matrices), bends.astype(np.float32))
