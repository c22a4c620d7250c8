"""Real files for the tests: small videos, folders of frames, masks."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image


def moving_square(index: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A textured frame with a red top-left corner, so that turning shows."""
    noise = np.random.default_rng(0).integers(60, 200, (6, 8, 3), dtype=np.uint8)
    frame = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    x = 30 + 2 * index % (width // 2)
    frame[40:64, x : x + 24] = np.random.default_rng(index).integers(0, 255, (24, min(24, width - x), 3))
    frame[: height // 4, : width // 4] = (230, 20, 20)
    return frame


def write_video(
    path: Path,
    frames: list[np.ndarray],
    *,
    rate: Fraction = Fraction(30000, 1001),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = options or {"g": "10"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def damage(path: Path, start: float, stop: float) -> None:
    """Overwrite a share of the file with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * stop)
    data[first:last] = np.random.default_rng(1).integers(0, 256, last - first, dtype=np.uint8).tobytes()
    path.write_bytes(data)


def write_frames(folder: Path, names: list[str], height: int = 24, width: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(np.full((height, width, 3), i * 10 % 250, np.uint8)).save(folder / name)
    return folder


def shapes(height: int = 240, width: int = 320) -> np.ndarray:
    """Labels of three objects, touching, nested and thin."""
    labels = np.zeros((height, width), np.uint8)
    cv2.circle(labels, (100, 100), 60, 3, -1)
    cv2.circle(labels, (100, 90), 20, 1, -1)
    cv2.ellipse(labels, (220, 140), (70, 40), 30, 0, 360, 2, -1)
    cv2.rectangle(labels, (150, 20), (154, 60), 3, -1)
    return labels


def ious(a: np.ndarray, b: np.ndarray) -> dict[int, float]:
    ids = np.union1d(a, b)
    return {int(i): float(((a == i) & (b == i)).sum() / ((a == i) | (b == i)).sum()) for i in ids}
