"""Clips from still images (V5): objects cut out of stills move over other stills."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch.utils.data import Dataset

from stremn.data.clips import Clip, ClipRequest
from stremn.data.segmentation.motion import Rng, random_motion
from stremn.data.segmentation.sprites import finish_clip, first_usable, random_sprite, random_still, twin_of
from stremn.data.segmentation.stills import Still, StillSet

__all__ = ["SyntheticClips", "with_regions"]


class SyntheticClips(Dataset[Clip]):
    """Makes endless synthetic clips; clip ``i`` depends only on the seed and ``i``.

    Half of the clips move a whole still, whose own objects are followed; the others use a still as
    background. Up to three cut-outs move above, and hide what is below; some have a look-alike. In some clips
    the objects disappear for a few frames. Where regions or inverse clips are wanted, what is followed need
    not be what stands out.

    Args:
        stills: folders of stills.
        objects: O, the most objects to follow.
        hidden_share: share of clips whose objects disappear for a few frames.
        look_alike_share: share of clips with a copy of an object that moves by itself.
        region_share: share of clips that move a whole still of which random regions are followed.
        inverse_share: share of clips in which all but the object is followed.
        seed: seed of everything random.
    """

    def __init__(
        self,
        stills: Sequence[StillSet],
        *,
        objects: int,
        seed: int,
        hidden_share: float = 0.1,
        look_alike_share: float = 0.1,
        region_share: float = 0.0,
        inverse_share: float = 0.0,
    ) -> None:
        self.stills, self.objects, self.seed = stills, objects, seed
        self.hidden_share, self.look_alike_share = hidden_share, look_alike_share
        self.region_share, self.inverse_share = region_share, inverse_share

    def __getitem__(self, request: ClipRequest) -> Clip:
        """Make the clip."""
        rng = np.random.default_rng([self.seed, 1, request.number])
        where = ", ".join(str(folder.root) for folder in self.stills)
        return first_usable(lambda: self._attempt(rng, request.frames, request.size), where)

    def _attempt(self, rng: Rng, frames: int, size: int) -> Clip | None:
        base = random_still(rng, self.stills)
        follow_base = rng.random() < 0.5
        # Drawn only where wanted, so that other clips do not depend on it.
        if self.region_share > 0 and rng.random() < self.region_share:
            base, follow_base = with_regions(rng, base), True
        height, width = base.labels.shape
        center = np.array([width, height]) / 2
        if follow_base and base.labels.any():
            ys, xs = np.nonzero(base.labels)
            center = 0.5 * center + 0.5 * np.array([xs.mean(), ys.mean()])
        motion = random_motion(
            rng,
            frames,
            center=tuple(center),
            target=(size / 2, size / 2),
            scale=size / min(height, width) * np.exp(rng.uniform(-0.05, 0.6)),
            speed=size * rng.uniform(0, 0.06 if follow_base else 0.03),
            turn=rng.choice([2.0, 10.0]),
            zoom=rng.choice([0.05, 0.15]),
            bend=rng.choice([0.0, 0.02 * min(height, width)]),
        )
        wanted = int(rng.integers(0 if follow_base else 1, 4))
        sprites = [s for s in (random_sprite(rng, self.stills, frames, size) for _ in range(wanted)) if s]
        if sprites and rng.random() < self.look_alike_share:
            sprites.append(twin_of(rng, sprites[0], frames, size))
        followed = base.labels if follow_base else np.zeros_like(base.labels)
        images, labels = motion.film([base.image] * frames, [followed] * frames, size, cv2.BORDER_REFLECT_101)
        for number, sprite in enumerate(sprites, start=200):
            sprite.paste(images, labels, number)
        return finish_clip(
            rng, images, labels, self.stills, self.objects, self.inverse_share, self.hidden_share
        )


SIDE = 160  # longer side at which regions are drawn, in pixels
COLOUR_WEIGHT = 2.0  # of a difference of colour against a distance, both as shares of their whole range
SMALLEST, LARGEST = 0.01, 0.4  # shares of the image that a region may have


def with_regions(rng: Rng, still: Still, most: int = 3) -> Still:
    """Give a still up to ``most`` random regions as its objects.

    Random pixels are seeds; every pixel belongs to the seed that is nearest in colour and place. So regions
    follow contours where there are any, and are parts of objects, of the background, or of both.
    """
    height, width = still.labels.shape
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.GaussianBlur(cv2.resize(still.image, size, interpolation=cv2.INTER_AREA), (0, 0), 1.5)
    ys, xs = np.mgrid[: size[1], : size[0]]
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).reshape(-1, 3) * np.float32(COLOUR_WEIGHT / 255)
    places = np.stack([ys.ravel(), xs.ravel()], axis=1).astype(np.float32) / SIDE
    points = np.concatenate([colours, places], axis=1)
    seeds = points[rng.integers(len(points), size=int(rng.integers(5, 20)))]
    nearest = np.square(points[:, None] - seeds).sum(axis=2).argmin(axis=1).astype(np.uint8)
    shares = np.bincount(nearest, minlength=len(seeds)) / len(points)
    usable = np.flatnonzero((shares >= SMALLEST) & (shares <= LARGEST))
    rng.shuffle(usable)
    lookup = np.zeros(len(seeds), np.uint8)
    lookup[usable[:most]] = np.arange(1, len(usable[:most]) + 1)
    labels = lookup[nearest].reshape(size[1], size[0])
    return Still(still.image, cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST))
