"""Random smooth motion and change of look, shared by all clips. Images are float32 in [0, 1]."""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Motion", "jitter_colors", "motion_blur", "random_motion", "warp"]

Rng = np.random.Generator


@dataclass(frozen=True)
class Motion:
    """A path through poses: one 2×3 matrix per frame, source to canvas pixels, and a smooth bend.

    Attributes:
        matrices: ``(T, 2, 3)`` float64.
        bends: ``(T, 4, 4, 2)`` float32, displacements in pixels on a coarse grid over the canvas.
    """

    matrices: np.ndarray
    bends: np.ndarray


def random_motion(
    rng: Rng,
    frames: int,
    *,
    center: tuple[float, float],
    target: tuple[float, float],
    scale: float,
    speed: float,
    turn: float = 12.0,
    zoom: float = 0.08,
    bend: float = 0.0,
) -> Motion:
    """A path that puts the source point ``center`` at the canvas point ``target`` and then drifts.

    Args:
        rng: source of randomness.
        frames: T.
        center: (x, y) in the source.
        target: (x, y) on the canvas at the first frame.
        scale: canvas pixels per source pixel at the first frame.
        speed: standard deviation of displacement per frame, in pixels.
        turn: standard deviation of rotation per frame, in degrees.
        zoom: standard deviation of log scale per frame.
        bend: size of the smooth deformation, in pixels.
    """
    drift = rng.normal(0, speed, 2)
    position = np.array(target, dtype=float)
    angle, log_scale, stretch = rng.normal(0, turn), np.log(scale), rng.normal(0, 0.06)
    angle_speed, scale_speed = rng.normal(0, turn / 2), rng.normal(0, zoom / 2)
    bend_now = rng.normal(0, bend, (4, 4, 2))
    matrices, bends = [], []
    for _ in range(frames):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        linear = np.exp(log_scale) * np.array([[c, -s], [s, c]]) @ np.diag([1 + stretch, 1 / (1 + stretch)])
        matrices.append(np.column_stack([linear, position - linear @ np.array(center)]))
        bends.append(bend_now.astype(np.float32))
        position = position + drift + rng.normal(0, speed / 2, 2)
        angle += angle_speed + rng.normal(0, turn / 3)
        log_scale += scale_speed + rng.normal(0, zoom / 3)
        stretch += rng.normal(0, 0.03)
        bend_now = bend_now + rng.normal(0, bend / 2, (4, 4, 2))
    return Motion(np.stack(matrices), np.stack(bends))


def warp(
    source: np.ndarray, motion: Motion, frame: int, size: int, *, nearest: bool = False, border: int = 0
) -> np.ndarray:
    """One frame of a source under a motion, ``(size, size[, C])``; ``border`` is a cv2 border mode."""
    interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    matrix, bend = motion.matrices[frame], motion.bends[frame]
    if not bend.any():
        return cv2.warpAffine(source, matrix, (size, size), flags=interpolation, borderMode=border)
    inverse = cv2.invertAffineTransform(matrix).astype(np.float32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    offset = cv2.resize(bend, (size, size), interpolation=cv2.INTER_CUBIC)
    x, y = x + offset[..., 0], y + offset[..., 1]
    map_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    map_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    return cv2.remap(source, map_x, map_y, interpolation, borderMode=border)


def jitter_colors(rng: Rng, images: list[np.ndarray], strength: float = 1.0) -> list[np.ndarray]:
    """One change of brightness, contrast, saturation and tint for a clip, with a small drift over it."""
    brightness, contrast, saturation = rng.uniform(-0.15, 0.15), rng.uniform(0.75, 1.3), rng.uniform(0.5, 1.5)
    tint = rng.normal(0, 0.04, 3)
    drift = rng.normal(0, 0.02, 2)
    result = []
    saturation = 0.0 if rng.random() < 0.04 else 1 + strength * (saturation - 1)
    for t, image in enumerate(images):
        gain = 1 + strength * (contrast - 1) + t * drift[0]
        color = gain * (saturation * np.eye(3) + (1 - saturation) / 3)
        offset = float(image.mean()) * (1 - gain) + strength * (brightness + tint) + t * drift[1]
        changed = cv2.transform(image, np.column_stack([color, offset]))
        result.append(np.clip(changed, 0, 1, out=changed))
    return result


def motion_blur(rng: Rng, image: np.ndarray, length: float) -> np.ndarray:
    """Blur along a random direction over ``length`` pixels."""
    size = int(length) | 1
    if size < 3:
        return image
    kernel = np.zeros((size, size), np.float32)
    angle = rng.uniform(0, np.pi)
    half = size // 2
    dx, dy = np.cos(angle) * half, np.sin(angle) * half
    cv2.line(kernel, (round(half - dx), round(half - dy)), (round(half + dx), round(half + dy)), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())
