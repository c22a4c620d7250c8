"""Clips from still images (V5): objects cut out of stills move over other stills."""

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clip import Clip
from stremn.data.motion import Motion, random_motion, warp
from stremn.data.sprites import Sprite, finish_clip, first_usable, random_sprite, random_still
from stremn.data.stills import Still, StillFolder

__all__ = ["SyntheticClips"]

Rng = np.random.Generator


class SyntheticClips(Dataset[Clip]):
    """Endless synthetic clips; clip ``i`` depends only on the seed and ``i``.

    Half of the clips move a whole still, whose own objects are followed; the others use a still as
    background. Up to three cut-outs move above, and hide what is below.

    Args:
        stills: folders of stills.
        length: number of clips in an epoch.
        frames: T.
        size: sides of a clip in pixels.
        objects: O, the most objects to follow.
        seed: of everything random.
    """

    def __init__(
        self, stills: list[StillFolder], *, length: int, frames: int, size: int, objects: int, seed: int
    ) -> None:
        """See the class."""
        self.stills = stills
        self.length, self.frames, self.size, self.objects, self.seed = length, frames, size, objects, seed

    def __len__(self) -> int:
        """Clips in an epoch."""
        return self.length

    def __getitem__(self, index: int) -> Clip:
        """Make clip ``index``."""
        rng = np.random.default_rng([self.seed, 1, index])
        where = ", ".join(str(folder.root) for folder in self.stills)
        return first_usable(self._attempt, rng, where)

    def _attempt(self, rng: Rng) -> Clip | None:
        base = random_still(rng, self.stills)
        follow_base = rng.random() < 0.5
        height, width = base.labels.shape
        center = np.array([width, height]) / 2
        if follow_base and base.labels.any():
            ys, xs = np.nonzero(base.labels)
            center = 0.5 * center + 0.5 * np.array([xs.mean(), ys.mean()])
        motion = random_motion(
            rng,
            self.frames,
            center=tuple(center),
            target=(self.size / 2, self.size / 2),
            scale=self.size / min(height, width) * np.exp(rng.uniform(-0.05, 0.6)),
            speed=self.size * rng.uniform(0, 0.06 if follow_base else 0.03),
            turn=rng.choice([2.0, 10.0]),
            bend=rng.choice([0.0, 0.02 * self.size]) if follow_base else 0.0,
        )
        wanted = int(rng.integers(0 if follow_base else 1, 4))
        sprites = [
            s for s in (random_sprite(rng, self.stills, self.frames, self.size) for _ in range(wanted)) if s
        ]
        images, labels = self._render(base, motion, sprites, follow_base)
        return finish_clip(rng, images, labels, self.objects)

    def _render(
        self, base: Still, motion: Motion, sprites: list[Sprite], follow_base: bool
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        images, labels = [], []
        source = base.image.astype(np.float32) / 255
        for t in range(self.frames):
            canvas = warp(source, motion, t, self.size, border=cv2.BORDER_REFLECT_101)
            ids = np.zeros((self.size, self.size), np.uint8)
            if follow_base:
                # Reflected at the border like the image, or a mirrored half would count as background.
                ids = warp(base.labels, motion, t, self.size, nearest=True, border=cv2.BORDER_REFLECT_101)
            for number, sprite in enumerate(sprites):
                canvas, alpha = sprite.paste(canvas, t)
                ids[alpha > 0.5] = 200 + number
            images.append(canvas)
            labels.append(ids)
        return images, labels
