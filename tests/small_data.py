"""Small inputs that several test folders share: videos, stills and data sets, made on the spot."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from stremn.files import write_mask

HEIGHT, WIDTH = 64, 96
RATE = Fraction(30000, 1001)


def frame(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W, 3) uint8: a bright and a dark square that move over a still texture."""
    texture = np.random.default_rng(0).integers(60, 180, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC)
    image[labels(index, height, width) == 1] = (240, 230, 60)
    image[labels(index, height, width) == 2] = (20, 20, 90)
    return image


def labels(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W) uint8: the two squares as objects 1 and 2."""
    side = height // 3
    ids = np.zeros((height, width), np.uint8)
    x = 4 + 2 * index % (width - side - 8)
    ids[6 : 6 + side, x : x + side] = 1
    ids[height - 6 - side : height - 6, width - x - side : width - x] = 2
    return ids


def write_video(path: Path, count: int, size: tuple[int, int] = (HEIGHT, WIDTH), **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"preset": "ultrafast", **options}
        for index in range(count):
            image = av.VideoFrame.from_ndarray(frame(index, *size), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


def write_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        Image.fromarray(frame(index)).save(folder / name)
    return folder


def write_first_mask(path: Path, ids: tuple[int, int] = (1, 2)) -> Path:
    write_mask(path, np.array([0, *ids], np.uint8)[labels(0)])
    return path


def write_davis(root: Path, sequences: dict[str, int], joins: dict[str, int] | None = None) -> Path:
    """A DAVIS-layout folder: number of frames by name; ``joins`` says when object 2 appears, else with 1."""
    for name, count in sequences.items():
        images, masks = (root / kind / "480p" / name for kind in ("JPEGImages", "Annotations"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for index in range(count):
            ids = labels(index)
            image = frame(index)
            if index < (joins or {}).get(name, 0):
                image[ids == 2] = 128
                ids[ids == 2] = 0
            Image.fromarray(image).save(images / f"{index:05d}.jpg", quality=95)
            write_mask(masks / f"{index:05d}.png", ids)
    return root


def write_stills(root: Path, count: int = 3) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for index in range(count):
        Image.fromarray(frame(5 * index)).save(root / "images" / f"still{index}.jpg")
        write_mask(root / "masks" / f"still{index}.png", labels(5 * index))
    return root


def decode(path: Path) -> tuple[list[np.ndarray], Fraction | None]:
    """All frames of a video, and its frame rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [f.to_ndarray(format="rgb24") for f in container.decode(stream)], stream.average_rate


def write_digits(path: Path, count: int = 40) -> Path:
    """Bright bars of growing height in MNIST's format, 28x28."""
    images = np.zeros((count, 28, 28), np.uint8)
    for index, image in enumerate(images):
        image[4 : 10 + index // 4 % 18, 6:20] = 255
    path.write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
    return path
