"""Cut-outs of stills that move, and the last steps that every training clip goes through."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from stremn.data.clip import Clip, make_clip
from stremn.data.motion import Motion, jitter_colors, motion_blur, random_motion, warp
from stremn.data.stills import Still, StillFolder
from stremn.errors import StremnError

__all__ = [
    "Sprite",
    "finish_clip",
    "first_usable",
    "hide_objects",
    "look_alike",
    "random_sprite",
    "random_still",
    "twin_of",
]

MOST_ATTEMPTS = 200

Rng = np.random.Generator


@dataclass(frozen=True)
class Sprite:
    """A cut-out with its path: image in [0, 1], alpha in [0, 1], both of the source's size."""

    image: np.ndarray
    alpha: np.ndarray
    motion: Motion

    def paste(self, canvas: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The canvas with the sprite on it, and the sprite's alpha ``(size, size)`` there."""
        size = canvas.shape[0]
        image = warp(self.image, self.motion, frame, size, border=cv2.BORDER_REPLICATE)
        alpha = warp(self.alpha, self.motion, frame, size)
        return canvas + (image - canvas) * alpha[..., None], alpha


def random_sprite(rng: Rng, stills: list[StillFolder], frames: int, size: int) -> Sprite | None:
    """A random object of a random still on a random path; ``None`` where the still has no usable object."""
    still = random_still(rng, stills)
    ids = [i for i in np.unique(still.labels) if i]
    if not ids:
        return None
    mask = still.labels == rng.choice(ids)
    ys, xs = np.nonzero(mask)
    extent = max(np.ptp(xs), np.ptp(ys)) + 1
    if mask.mean() < 0.004 or extent < 16:
        return None
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)
    wanted = size * np.exp(rng.uniform(np.log(0.12), np.log(0.8)))
    motion = random_motion(
        rng,
        frames,
        center=(xs.mean(), ys.mean()),
        target=tuple(rng.uniform(0.15 * size, 0.85 * size, 2)),
        scale=wanted / extent,
        speed=size * rng.uniform(0.0, 0.08),
        bend=rng.choice([0.0, 0.03 * wanted]),
    )
    return Sprite(still.image.astype(np.float32) / 255, alpha, motion)


def twin_of(rng: Rng, sprite: Sprite, frames: int, size: int) -> Sprite:
    """The same cut-out, mirrored or not, on another path: a look-alike."""
    ys, xs = np.nonzero(sprite.alpha > 0.5)
    linear = sprite.motion.matrices[0, :, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear)))) * np.exp(rng.uniform(-0.3, 0.3))
    motion = random_motion(
        rng,
        frames,
        center=(xs.mean(), ys.mean()),
        target=tuple(rng.uniform(0.1 * size, 0.9 * size, 2)),
        scale=scale,
        speed=size * rng.uniform(0.0, 0.06),
    )
    return Sprite(sprite.image, sprite.alpha, motion)


def look_alike(rng: Rng, canvas: np.ndarray, ids: np.ndarray, frames: int) -> Sprite | None:
    """A copy of an object of a frame as a cut-out that moves by itself; ``None`` without a usable object."""
    visible, counts = np.unique(ids, return_counts=True)
    visible = visible[(visible > 0) & (counts > 200) & (counts < 0.2 * ids.size)]
    if not len(visible):
        return None
    alpha = cv2.GaussianBlur((ids == rng.choice(visible)).astype(np.float32), (3, 3), 0)
    still = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    return twin_of(rng, Sprite(canvas.copy(), alpha, Motion(still, still)), frames, canvas.shape[0])


def hide_objects(
    rng: Rng, images: list[np.ndarray], labels: list[np.ndarray], stills: list[StillFolder]
) -> None:
    """For one to four frames, never the first or the last, something covers all objects; in place.

    A patch of a still over the objects, or a cut to a still.
    """
    if len(images) < 4:
        return
    first = int(rng.integers(1, len(images) - 2))
    end = min(len(images) - 1, first + int(rng.integers(1, 5)))
    size, whole = images[0].shape[0], rng.random() < 0.4
    texture = cv2.resize(random_still(rng, stills).image, (size, size)).astype(np.float32) / 255
    for t in range(first, end):
        box = cv2.boundingRect((labels[t] > 0).astype(np.uint8))
        if whole or box[2] * box[3] > 0.5 * size**2:
            images[t], labels[t] = texture.copy(), np.zeros_like(labels[t])
        elif box[2]:
            grown = rng.uniform(0.05, 0.3) * max(box[2:])
            left, top = max(0, int(box[0] - grown)), max(0, int(box[1] - grown))
            right, bottom = int(box[0] + box[2] + grown) + 1, int(box[1] + box[3] + grown) + 1
            part = slice(top, bottom), slice(left, right)
            images[t][part], labels[t][part] = texture[part], 0


def random_still(rng: Rng, stills: list[StillFolder]) -> Still:
    """A random still, mirrored half of the time; folders weigh by their length."""
    counts = np.array([len(folder) for folder in stills])
    folder = stills[rng.choice(len(stills), p=counts / counts.sum())]
    still = folder[int(rng.integers(len(folder)))]
    if rng.random() < 0.5:
        still = Still(still.image[:, ::-1].copy(), still.labels[:, ::-1].copy())
    return still


def finish_clip(rng: Rng, images: list[np.ndarray], labels: list[np.ndarray], objects: int) -> Clip | None:
    """Blur, change colours, choose up to ``objects`` ids visible in the first frame; ``None`` without one."""
    if rng.random() < 0.25:
        images = [motion_blur(rng, image, rng.uniform(0, 9)) for image in images]
    images = jitter_colors(rng, images)
    visible, counts = np.unique(labels[0], return_counts=True)
    ids = [i for i, n in zip(visible, counts, strict=True) if i and n > 40]
    if not ids:
        return None
    rng.shuffle(ids)
    return make_clip(images, labels, ids[:objects], objects)


def first_usable(attempt: Callable[[Rng], Clip | None], rng: Rng, where: str) -> Clip:
    """The first clip with an object in its first frame.

    Raises:
        StremnError: naming the data, if there is none in many attempts: its masks are empty.
    """
    for _ in range(MOST_ATTEMPTS):
        clip = attempt(rng)
        if clip is not None:
            return clip
    raise StremnError(f"{where}: hardly a mask holds an object of visible size; check the masks")
