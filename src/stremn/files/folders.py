"""A folder of images as a source of frames."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from stremn.errors import StremnError
from stremn.files.frames import Frame, FrameSource, log

__all__ = ["IMAGE_SUFFIXES", "FolderSource", "image_files", "natural_key", "to_rgb8"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
# What Pillow raises on damaged files, by format and by place of the damage.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts `frame2` before `frame10`; ties are settled by the name itself."""
    parts = re.split(r"([0-9]+)", name)
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]
    return [*key, (-1, 0, name)]


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder in natural order; hidden files are not counted."""
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(files, key=lambda path: natural_key(path.name))


def to_rgb8(image: Image.Image) -> np.ndarray:
    """Any Pillow image as (H, W, 3) uint8 RGB: upright, 16 bits scaled to 8, alpha laid over black."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        grey = ((deep.clip(0, 65535) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return np.array(image.convert("RGB"))


class FolderSource(FrameSource):
    """The images of a folder in natural order, each read when its turn comes.

    Raises StremnError when the folder is empty or holds no image, or two images share a stem.
    """

    def __init__(self, path: Path) -> None:
        """List the images; none is opened yet."""
        super().__init__(path.name or str(path))
        self.files = image_files(path)
        if not self.files:
            empty = "is empty" if not any(path.iterdir()) else "holds no image"
            raise StremnError(f"folder {path} {empty}: give a folder of JPEG or PNG frames, or a video file")
        seen: dict[str, Path] = {}
        for file in self.files:
            if file.stem in seen:
                raise StremnError(
                    f"{seen[file.stem].name} and {file.name} in {path} share one name: keep one of them"
                )
            seen[file.stem] = file
        self.frame_names = tuple(file.stem for file in self.files)
        self.frame_count = len(self.files)

    def _decode(self) -> Iterator[Frame]:
        for index, file in enumerate(self.files):
            try:
                with warnings.catch_warnings(), Image.open(file) as image:
                    warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata are not the user's
                    pixels = to_rgb8(image)
            except UNREADABLE as error:
                self.lost_frames += 1
                log.warning("%s cannot be read and is skipped (%s)", file, str(error).splitlines()[0])
                continue
            yield Frame(index, file.stem, pixels)
            del pixels
