"""Random smooth motion and change of look, shared by all clips. Images are float32 in [0, 1]."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Motion", "Part", "Pose", "Rng", "jitter_colors", "motion_blur", "random_motion"]

Rng = np.random.Generator

Part = tuple[list[np.ndarray], list[np.ndarray]]
"""Frames ``(h, w, 3)`` float32 and ids ``(h, w)`` uint8 of a clip."""

CONTROLS = 4  # points of a bend along each side of the source
LATTICE = 25  # points along each side at which the spline is computed; between them it is interpolated


@dataclass(frozen=True)
class Pose:
    """Where each pixel of a region of the canvas comes from: a matrix, or maps of x and y."""

    width: int
    height: int
    inverse: np.ndarray
    maps: tuple[np.ndarray, np.ndarray] | None

    def apply(self, source: np.ndarray, *, nearest: bool = False, border: int = 0) -> np.ndarray:
        """Draw the region ``(height, width[, C])`` of the source; ``border`` is a cv2 border mode."""
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        if self.maps is not None:
            return cv2.remap(source, *self.maps, how, borderMode=border)
        how |= cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(source, self.inverse, (self.width, self.height), flags=how, borderMode=border)


@dataclass(frozen=True)
class Motion:
    """A path through poses: one 2×3 matrix per frame, source to canvas pixels, and a thin-plate bend.

    Attributes:
        matrices: ``(T, 2, 3)`` float64.
        bends: ``(T, 4, 4, 2)`` float32, displacements in source pixels at control points spread over the
            source; between them the thin-plate spline.
    """

    matrices: np.ndarray
    bends: np.ndarray

    def pose(self, frame: int, source: tuple[int, int], region: tuple[int, int, int, int]) -> Pose:
        """Find where the pixels of one frame of the path come from.

        Args:
            frame: index of the frame.
            source: height and width of the source in pixels.
            region: left, top, right and bottom of the part of the canvas that is wanted.
        """
        left, top, right, bottom = region
        width, height = right - left, bottom - top
        inverse = cv2.invertAffineTransform(self.matrices[frame])
        inverse[:, 2] += inverse[:, :2] @ (left, top)
        bend = self.bends[frame]
        if not bend.any():
            return Pose(width, height, inverse, None)
        lattice = (_plate_basis() @ bend.reshape(-1, 2)).reshape(LATTICE, LATTICE, 2)
        to_lattice = inverse * ((LATTICE - 1) / np.array([source[1] - 1, source[0] - 1]))[:, None]
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        offset = cv2.warpAffine(
            lattice, to_lattice, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE
        )
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        a = inverse.astype(np.float32)
        map_x, map_y = cv2.split(offset)
        map_x += a[0, 0] * x + (a[0, 1] * y + a[0, 2])
        map_y += a[1, 0] * x + (a[1, 1] * y + a[1, 2])
        return Pose(width, height, inverse, (map_x, map_y))

    def film(
        self, images: Sequence[np.ndarray], labels: Sequence[np.ndarray], size: int, border: int
    ) -> Part:
        """Draw a clip of ``size`` a side of one source, or of one for each frame.

        Args:
            images: T sources ``(H, W, 3)`` uint8.
            labels: their ids ``(H, W)`` uint8.
            size: in pixels.
            border: cv2 border mode. Ids go on beyond it like the image, or a mirrored half of an object would
                count as background.
        """
        clip: Part = ([], [])
        for t, (image, ids) in enumerate(zip(images, labels, strict=True)):
            pose = self.pose(t, (image.shape[0], image.shape[1]), (0, 0, size, size))
            clip[0].append(pose.apply(image, border=border).astype(np.float32) / 255)
            clip[1].append(pose.apply(ids, nearest=True, border=border))
        return clip

    def travel(self, start: tuple[float, float], end: tuple[float, float], zoom: float) -> "Motion":
        """Add a camera that moves evenly over the source and zooms evenly on a log scale.

        Args:
            start: source point (x, y) that stays where it is in the first frame.
            end: source point that is in its place in the last frame.
            zoom: how many times larger than in the first frame the source is in the last.
        """
        shares = np.linspace(0.0, 1.0, len(self.matrices))
        begin, way = np.array(start), np.array(end) - np.array(start)
        matrices = self.matrices.copy()
        for matrix, share in zip(matrices, shares, strict=True):
            factor = zoom**share
            # Source point p is shown where the path shows start + factor · (p - start - share · way).
            matrix[:, 2] += matrix[:, :2] @ (begin - factor * (begin + share * way))
            matrix[:, :2] *= factor
        return Motion(matrices, self.bends)


@functools.cache
def _plate_basis() -> np.ndarray:
    """Compute the matrix from displacements of the 16 control points to those on the lattice.

    The thin-plate spline through the control points: kernel r² log r, and an affine part.
    """

    def grid(count: int) -> np.ndarray:
        steps = np.linspace(0.0, 1.0, count)
        return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
        return squared * np.log(np.where(squared > 0, squared, 1.0))

    controls, points = grid(CONTROLS), grid(LATTICE)
    count = len(controls)
    affine = np.column_stack([np.ones(count), controls])
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(controls, controls)
    system[:count, count:], system[count:, :count] = affine, affine.T
    weights = np.linalg.solve(system, np.eye(count + 3)[:, :count])
    at_points = np.column_stack([kernel(points, controls), np.ones(len(points)), points])
    return (at_points @ weights).astype(np.float32)


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
    """Draw a path that puts the source point ``center`` at the canvas point ``target`` and then drifts.

    Args:
        rng: source of randomness.
        frames: T.
        center: (x, y) in the source.
        target: (x, y) on the canvas at the first frame.
        scale: canvas pixels per source pixel at the first frame.
        speed: standard deviation of displacement per frame, in pixels.
        turn: standard deviation of rotation per frame, in degrees.
        zoom: standard deviation of log scale per frame.
        bend: standard deviation of the displacement of a control point, in source pixels.
    """
    drift = rng.normal(0, speed, 2)
    position = np.array(target, dtype=float)
    angle, log_scale, stretch = rng.normal(0, turn), np.log(scale), rng.normal(0, 0.06)
    angle_speed, scale_speed = rng.normal(0, turn / 2), rng.normal(0, zoom / 2)
    bend_now = rng.normal(0, bend, (CONTROLS, CONTROLS, 2))
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
        bend_now = bend_now + rng.normal(0, bend / 2, (CONTROLS, CONTROLS, 2))
    return Motion(np.stack(matrices), np.stack(bends))


def jitter_colors(rng: Rng, images: list[np.ndarray]) -> list[np.ndarray]:
    """Change brightness, contrast, saturation and tint of a clip at once, with a small drift over it."""
    brightness, contrast, saturation = rng.uniform(-0.15, 0.15), rng.uniform(0.75, 1.3), rng.uniform(0.5, 1.5)
    tint = rng.normal(0, 0.04, 3)
    drift = rng.normal(0, 0.02, 2)
    saturation = 0.0 if rng.random() < 0.04 else saturation
    result = []
    for t, image in enumerate(images):
        gain = contrast + t * drift[0]
        color = gain * (saturation * np.eye(3) + (1 - saturation) / 3)
        offset = float(image.mean()) * (1 - gain) + (brightness + tint) + t * drift[1]
        changed = cv2.transform(image, np.column_stack([color, offset]))
        result.append(np.clip(changed, 0, 1, out=changed))
    return result


def motion_blur(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Blur an image along a way of ``(dx, dy)`` pixels, centred."""
    size = int(np.hypot(dx, dy)) | 1
    if size < 3:
        return image
    kernel = np.zeros((size, size), np.float32)
    half, length = size // 2, np.hypot(dx, dy)
    x, y = half * dx / length, half * dy / length
    cv2.line(kernel, (round(half - x), round(half - y)), (round(half + x), round(half + y)), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
