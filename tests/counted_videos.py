"""Videos whose every frame shows its own number, in all the layouts that are read."""

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np

BITS = 10


def numbered(number: int, height: int = 48, width: int = 80) -> np.ndarray:
    """(H, W, 3) uint8: the bits of the number as black and white stripes, the lowest at the left."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 215 + 20, width // BITS)
    return np.repeat(np.broadcast_to(row, (height, width))[..., None], 3, axis=2)


def number_of(frame: np.ndarray) -> int:
    """The number that a frame shows, (h, w, C) of [0, 1] or uint8, of the whole width."""
    values = frame.astype(float).mean(axis=(0, 2))
    stripes = [part.mean() for part in np.array_split(values, BITS)]
    return sum(
        1 << bit for bit, value in enumerate(stripes) if value > np.mean([0, 255 if max(stripes) > 1 else 1])
    )


def write_numbered(
    path: Path,
    count: int,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (48, 80),
    key_every: int = 12,
    **options: str,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = key_every
        stream.options = {"preset": "ultrafast", **options} if codec == "libx264" else options
        for number in range(count):
            image = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


def write_images(folder: Path, numbers: list[int], name: str = "image_{:04d}.jpg") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), numbered(number))
    return folder


HELD_FRAMES = 500
"""The number of the first frame of people who are held out; all others count from 0."""


def write_people(root: Path, kind: str, held: Sequence[str]) -> str:
    """KTH's or Human3.6M's training split, a folder of 36 frames for each person; gives a recipe's entry."""
    people = [f"person{p:02d}" for p in range(1, 17)] if kind == "kth" else ["S1", "S5", "S6", "S7", "S8"]
    for person in people:
        first = HELD_FRAMES if person in held else 0
        below = f"walking/{person}_walking_d1_uncomp" if kind == "kth" else f"{person}/Walking-1/54138969"
        write_images(root / below, list(range(first, first + 36)))
    return f"{kind}:{root}"
