"""Moving MNIST (Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", 2015)."""

import logging
import struct
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from torch.utils.data import Dataset

from stremn.data.clips import ClipRequest, FrameClip, make_frame_clip
from stremn.errors import StremnError

__all__ = ["MovingMnist", "MovingMnistFile", "move_digits", "read_digits"]

log = logging.getLogger("stremn")

_IDX_IMAGES = 0x803  # unsigned bytes in three dimensions
_FILE_FRAMES, _FILE_SIZE = 20, 64
_STEP = 0.1  # of the free way, in every frame, as in the published generator


def read_digits(path: Path | str, first: int = 0, end: int | None = None) -> np.ndarray:
    """Read digits of a file.

    It is an idx file of MNIST, gzipped or not, an ``.npy`` file of such an array, or an ``.npz`` file with
    one, or with one named ``x_train``. Of an idx file that is cut off, the digits before the cut are still
    given, with a warning.

    Args:
        path: the file.
        first: number of the first digit.
        end: number after the last one; ``None`` for all.

    Returns:
        ``(N, h, w)`` uint8.

    Raises:
        StremnError: if the file is damaged, of another kind, or does not hold all of these digits.
    """
    path = Path(path)
    try:
        digits = _read_array(path) if path.suffix in (".npy", ".npz") else _read_idx(path)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, struct.error, BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StremnError(f"{path}: cannot be read as digits ({reason}); give an MNIST image file") from error
    if digits.ndim != 3 or digits.dtype != np.uint8:
        raise StremnError(
            f"{path}: holds {digits.dtype} of shape {digits.shape}; give images (N, h, w) of 8 bits"
        )
    if not 0 <= first < (len(digits) if end is None else end) <= len(digits):
        asked = f"from {first} on" if end is None else f"all from {first} to {end - 1}"
        raise StremnError(
            f"{path}: has {len(digits)} whole digits, not {asked}; choose others, or give a whole file"
        )
    return np.ascontiguousarray(digits[first:end])


def _read_idx(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        # Unlike gzip's own reader, this gives what lies before the end of a file that is cut off.
        raw = zlib.decompressobj(wbits=31).decompress(raw)
    magic, count, height, width = struct.unpack(">4I", raw[:16])
    if magic != _IDX_IMAGES:
        raise ValueError("not an idx file of images")
    whole = min(count, (len(raw) - 16) // (height * width))
    if whole < count:
        log.warning("%s is cut off: %d of its %d digits are whole; download it again", path, whole, count)
    digits = np.frombuffer(raw, np.uint8, offset=16, count=whole * height * width)
    return digits.reshape(whole, height, width)


def _read_array(path: Path) -> np.ndarray:
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        return found
    with found:
        images = [name for name in found.files if found[name].ndim == 3]
        name = "x_train" if "x_train" in images else images[0] if len(images) == 1 else None
        if name is None:
            raise ValueError(f"{len(images)} arrays of images")
        return np.asarray(found[name])


def move_digits(
    rng: np.random.Generator, digits: np.ndarray, frames: int, size: int, *, count: int = 2
) -> np.ndarray:
    """Move digits straight over black, where they bounce at the walls.

    As in the published generator: each starts anywhere inside, in any direction, and moves by a tenth of its
    free way ``size - h`` a frame; a digit that would leave stops at the wall and turns back. Where digits
    overlap the brighter pixel shows.

    Args:
        rng: source of randomness.
        digits: ``(N, h, w)`` uint8 to choose from.
        frames: T.
        size: sides of the frames, at least those of the digits.
        count: how many digits the clip has.

    Returns:
        ``(T, size, size, 1)`` uint8.
    """
    chosen = digits[rng.integers(len(digits), size=count)]
    height, width = chosen.shape[1:]
    place, angle = rng.random((count, 2)), rng.uniform(0, 2 * np.pi, count)
    velocity = _STEP * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    canvas = np.zeros((frames, size, size, 1), np.uint8)
    for t in range(frames):
        corners = (place * (size - height, size - width)).astype(int)
        for digit, (y, x) in zip(chosen, corners, strict=True):
            part = canvas[t, y : y + height, x : x + width, 0]
            np.maximum(part, digit, out=part)
        place += velocity
        velocity[(place <= 0) | (place >= 1)] *= -1
        place.clip(0, 1, out=place)
    return canvas


class MovingMnist(Dataset[FrameClip]):
    """Makes endless clips of two moving digits; clip ``i`` depends only on the seed and ``i``.

    Args:
        digits: ``(N, h, w)`` uint8 to choose from; train and test use different ones.
        seed: seed of everything random.
    """

    def __init__(self, digits: np.ndarray, *, seed: int) -> None:
        self.digits, self.seed = digits, seed

    def __getitem__(self, request: ClipRequest) -> FrameClip:
        """Make the clip, frames ``(T, 1, size, size)``.

        Raises:
            StremnError: if the digits do not fit.
        """
        if request.size < max(self.digits.shape[1:]):
            raise StremnError(
                f"a clip of {request.size} pixels is smaller than its digits; set 'size' to "
                f"{max(self.digits.shape[1:])} or more"
            )
        rng = np.random.default_rng([self.seed, 4, request.number])
        return make_frame_clip(move_digits(rng, self.digits, request.frames, request.size))


class MovingMnistFile(Dataset[FrameClip]):
    """Reads the public test set: ``mnist_test_seq.npy``, ``(20, 10000, 64, 64)`` uint8, frames first.

    Sequences are read from disk when asked for; clip ``i`` is the beginning of sequence ``i``.

    Args:
        path: the file.

    Raises:
        StremnError: if it is damaged or of another layout.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path = Path(path)
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise StremnError(f"{path}: not a readable .npy file; download it again") from error
        layout = (_FILE_FRAMES, _FILE_SIZE, _FILE_SIZE)
        right = isinstance(found, np.ndarray) and found.ndim == 4 and found.dtype == np.uint8
        if not right or (found.shape[0], *found.shape[2:]) != layout or not found.shape[1]:
            what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else "an archive"
            raise StremnError(
                f"{path}: holds {what}; the Moving MNIST test file is uint8 (20, 10000, 64, 64), frames first"
            )
        self._sequences = found

    def __len__(self) -> int:
        """Count the sequences."""
        return int(self._sequences.shape[1])

    def __getitem__(self, request: ClipRequest) -> FrameClip:
        """Read the first frames of one sequence, ``(T, 1, 64, 64)``.

        Raises:
            IndexError: past the last sequence.
            StremnError: if more than 20 frames or another size are asked for.
        """
        if request.size != _FILE_SIZE or request.frames > _FILE_FRAMES:
            raise StremnError(
                f"{self.path}: has {_FILE_FRAMES} frames of {_FILE_SIZE} pixels, not {request.frames} of "
                f"{request.size}; set 'frames' and 'size' to that"
            )
        if not 0 <= request.number < len(self):
            raise IndexError(request.number)
        return make_frame_clip(np.asarray(self._sequences[: request.frames, request.number])[..., None])
