"""Cut-outs of stills that move, and the last steps that every training clip goes through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from stremn.data.clips import Clip
from stremn.data.segmentation.motion import Motion, Rng, jitter_colors, motion_blur, random_motion
from stremn.data.segmentation.stills import Still, StillSet
from stremn.errors import StremnError

__all__ = [
    "INVERSE",
    "Sprite",
    "copy_paste",
    "cut_out",
    "finish_clip",
    "first_usable",
    "hide_objects",
    "invert",
    "look_alike",
    "present_ids",
    "random_sprite",
    "random_still",
    "twin_of",
]

INVERSE = 203
"""Id of all that is not the object."""

MOST_ATTEMPTS = 200
VISIBLE = 0.5  # share of a pixel that a cut-out must cover to own it
VISIBLE_BLURRED = 0.35  # of one that moves fast: or a small one would own nothing
LONGEST_BLUR = 15.0  # in pixels


@dataclass(frozen=True)
class Sprite:
    """A cut-out with its path.

    Attributes:
        picture: ``(h, w, 4)`` float32 in [0, 1], colours and alpha of the part of the source around the
            object; alpha is 0 along the border.
        motion: of the part.
        shutter: how much of the way between two frames the cut-out is blurred along, from 0 to 1.
    """

    picture: np.ndarray
    motion: Motion
    shutter: float = 0.0

    def paste(self, images: list[np.ndarray], labels: list[np.ndarray], number: int) -> None:
        """Draw the path on the frames of a clip, and as ``number`` on its ids, in place."""
        for frame, (canvas, ids) in enumerate(zip(images, labels, strict=True)):
            self._paste(canvas, ids, number, frame)

    def _paste(self, canvas: np.ndarray, ids: np.ndarray, number: int, frame: int) -> None:
        way = self._way(frame)
        region = self._region(frame, canvas.shape[:2], float(np.abs(way).max()) + 2)
        if region is None:
            return
        size = self.picture.shape[0], self.picture.shape[1]
        picture = self.motion.pose(frame, size, region).apply(self.picture, border=cv2.BORDER_REPLICATE)
        blurred = bool(way.any())
        if blurred:
            picture[..., :3] *= picture[..., 3:]
            picture = motion_blur(picture, *way)
            picture[..., :3] /= np.maximum(picture[..., 3:], 1e-3)
        alpha = picture[..., 3]
        part = slice(region[1], region[3]), slice(region[0], region[2])
        canvas[part] += (picture[..., :3] - canvas[part]) * alpha[..., None]
        ids[part][alpha > (VISIBLE_BLURRED if blurred else VISIBLE)] = number

    def _way(self, frame: int) -> np.ndarray:
        """Compute how far the middle of the cut-out moves while the shutter is open, in pixels."""
        matrices = self.motion.matrices
        if not self.shutter or len(matrices) < 2:
            return np.zeros(2)
        middle = np.array([self.picture.shape[1] / 2, self.picture.shape[0] / 2, 1.0])
        then = matrices[frame + (1 if frame + 1 < len(matrices) else -1)]
        way = self.shutter * (then - matrices[frame]) @ middle
        length = float(np.hypot(*way))
        return np.zeros(2) if length < 3 else way * min(1.0, LONGEST_BLUR / length)

    def _region(self, frame: int, size: tuple[int, ...], margin: float) -> tuple[int, int, int, int] | None:
        """Find left, top, right, bottom of the part of the canvas that the cut-out can touch, if any."""
        height, width = self.picture.shape[:2]
        bend = float(np.abs(self.motion.bends[frame]).max())
        xs, ys = (-bend, width - 1 + bend), (-bend, height - 1 + bend)
        corners = self.motion.matrices[frame] @ np.array([[x, y, 1.0] for x in xs for y in ys]).T
        left, top = np.maximum(0, np.floor(corners.min(axis=1) - margin)).astype(int)
        right, bottom = np.minimum(size[::-1], np.ceil(corners.max(axis=1) + margin + 1)).astype(int)
        return (int(left), int(top), int(right), int(bottom)) if left < right and top < bottom else None


def cut_out(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cut the part of an image around a mask, with alpha of a soft border, as a :class:`Sprite` has them.

    Args:
        image: ``(H, W, 3)`` uint8, or float32 in [0, 1].
        mask: ``(H, W)`` uint8, 1 on the object.

    Returns:
        ``(h, w, 4)`` float32 in [0, 1].
    """
    left, top, width, height = cv2.boundingRect(mask)
    part = slice(max(0, top - 2), top + height + 2), slice(max(0, left - 2), left + width + 2)
    alpha = cv2.GaussianBlur(mask[part].astype(np.float32), (3, 3), 0)
    alpha[[0, -1]] = alpha[:, [0, -1]] = 0
    colours = image[part].astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
    # In one array: four channels are warped in half the time of three.
    return np.dstack([colours, alpha])


def random_sprite(rng: Rng, stills: Sequence[StillSet], frames: int, size: int) -> Sprite | None:
    """Draw a random object of a random still on a random path; ``None`` where the still has no usable one."""
    still = random_still(rng, stills)
    ids = present_ids(still.labels)
    if not len(ids):
        return None
    mask = (still.labels == rng.choice(ids)).astype(np.uint8)
    extent = max(cv2.boundingRect(mask)[2:])
    if mask.mean() < 0.004 or extent < 16:
        return None
    picture = cut_out(still.image, mask)
    wanted = size * np.exp(rng.uniform(np.log(0.12), np.log(0.8)))
    motion = random_motion(
        rng,
        frames,
        center=_centre(picture),
        target=tuple(rng.uniform(0.15 * size, 0.85 * size, 2)),
        scale=wanted / extent,
        speed=size * rng.uniform(0.0, 0.08),
        bend=rng.choice([0.0, 0.03 * extent]),
    )
    return Sprite(picture, motion, shutter=rng.choice([0.0, 0.0, 0.6]))


def present_ids(labels: np.ndarray) -> np.ndarray:
    """List the object ids of a label map ``(H, W)`` uint8, in order."""
    return np.flatnonzero(_pixels(labels))


def _pixels(labels: np.ndarray) -> np.ndarray:
    """Count the pixels of each of the 256 ids; none for the background."""
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    counts[0] = 0
    return counts


def _centre(picture: np.ndarray) -> tuple[float, float]:
    moments = cv2.moments(picture[..., 3])
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def twin_of(rng: Rng, sprite: Sprite, frames: int, size: int) -> Sprite:
    """Draw another path for the same cut-out, which makes a look-alike."""
    linear = sprite.motion.matrices[0, :, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear)))) * np.exp(rng.uniform(-0.3, 0.3))
    motion = random_motion(
        rng,
        frames,
        center=_centre(sprite.picture),
        target=tuple(rng.uniform(0.1 * size, 0.9 * size, 2)),
        scale=scale,
        speed=size * rng.uniform(0.0, 0.06),
    )
    return Sprite(sprite.picture, motion, sprite.shutter)


def look_alike(rng: Rng, canvas: np.ndarray, ids: np.ndarray, frames: int) -> Sprite | None:
    """Copy an object of a frame as a cut-out that moves by itself; ``None`` without a usable object."""
    counts = _pixels(ids)
    visible = np.flatnonzero((counts > 200) & (counts < 0.2 * ids.size))
    if not len(visible):
        return None
    picture = cut_out(canvas, (ids == rng.choice(visible)).astype(np.uint8))
    still = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    return twin_of(rng, Sprite(picture, Motion(still, still)), frames, canvas.shape[0])


def copy_paste(
    rng: Rng,
    guests: list[np.ndarray],
    guest_ids: list[np.ndarray],
    images: list[np.ndarray],
    labels: list[np.ndarray],
    number: int,
) -> None:
    """Lay one object of the first clip, in other colours, over the second as ``number``, in place."""
    present = present_ids(guest_ids[0])
    if not len(present):
        return
    chosen = rng.choice(present)
    for guest, ids, image, label in zip(jitter_colors(rng, guests), guest_ids, images, labels, strict=True):
        mask = ids == chosen
        alpha = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)[..., None]
        image += (guest - image) * alpha
        label[mask] = number


def hide_objects(
    rng: Rng, images: list[np.ndarray], labels: list[np.ndarray], stills: Sequence[StillSet]
) -> None:
    """Cover all objects for one to four frames, never the first or the last, in place.

    The cover is a patch of a still over the objects, or a cut to a still.
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


def random_still(rng: Rng, stills: Sequence[StillSet]) -> Still:
    """Draw a still, mirrored half of the time; folders weigh by their length."""
    counts = np.array([len(folder) for folder in stills])
    folder = stills[rng.choice(len(stills), p=counts / counts.sum())]
    still = folder[int(rng.integers(len(folder)))]
    if rng.random() < 0.5:
        still = Still(cv2.flip(still.image, 1), cv2.flip(still.labels, 1))
    return still


def invert(rng: Rng, labels: list[np.ndarray]) -> None:
    """Make one object of the first frame the background, and all else one object, in place.

    Without an object nothing changes.
    """
    present = present_ids(labels[0])
    if len(present):
        one = rng.choice(present)
        for ids in labels:
            ids[...] = np.where(ids == one, 0, INVERSE)


def finish_clip(
    rng: Rng,
    images: list[np.ndarray],
    labels: list[np.ndarray],
    stills: Sequence[StillSet],
    objects: int,
    inverse_share: float,
    hidden_share: float,
) -> Clip | None:
    """Invert, hide, blur and recolour by chance, and follow up to ``objects`` ids of the first frame.

    ``None`` where no id of the first frame is of visible size. Without stills nothing is hidden.
    """
    # Drawn only where wanted, so that other clips do not depend on it.
    if inverse_share > 0 and rng.random() < inverse_share:
        invert(rng, labels)
    if stills and rng.random() < hidden_share:
        hide_objects(rng, images, labels, stills)
    if rng.random() < 0.25:
        images = [_shaken(rng, image) for image in images]
    images = jitter_colors(rng, images)
    ids = np.flatnonzero(_pixels(labels[0]) > 40).tolist()
    if not ids:
        return None
    rng.shuffle(ids)
    followed = ids[:objects]
    lookup = np.zeros(256, np.int64)
    lookup[followed] = np.arange(1, len(followed) + 1)
    return Clip(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(lookup[np.stack(labels)]),
        torch.arange(objects) < len(followed),
    )


def _shaken(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Blur as by a camera that moved, up to nine pixels in a random direction."""
    length, angle = rng.uniform(0, 9), rng.uniform(0, np.pi)
    return motion_blur(image, length * np.cos(angle), length * np.sin(angle))


def first_usable(attempt: Callable[[], Clip | None], where: str) -> Clip:
    """Try until a clip has an object in its first frame.

    Raises:
        StremnError: naming the data, if there is none in many attempts: its masks are empty.
    """
    for _ in range(MOST_ATTEMPTS):
        if clip := attempt():
            return clip
    raise StremnError(f"{where}: hardly a mask holds an object of visible size; check the masks")
