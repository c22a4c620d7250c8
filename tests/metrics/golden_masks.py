"""Masks whose official scores are kept in golden_scores.json: generated truth, and predictions with faults.

Plain whole-number NumPy, so that they come out the same on every machine and version. `benchmarks/score.py
--write-golden` has the official tool score them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Masks = list[np.ndarray]

SYNTHETIC = "synthetic"


def real_sequences(data: Path) -> dict[str, Path]:
    """Folders of true masks by sequence: val14, two with empty masks, one of seven objects."""
    single = data / "DAVIS2016"
    names = (single / "ImageSets" / "2016" / "val.txt").read_text().split()
    folders = {name: single / "Annotations" / "480p" / name for name in [*names, "bmx-bumps", "surf"]}
    return folders | {"schoolgirls": data / "DAVIS2017" / "Annotations" / "480p" / "schoolgirls"}


def read_masks(folder: Path) -> Masks:
    return [np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))]


def write_masks(folder: Path, masks: Masks) -> None:
    folder.mkdir(parents=True)
    for index, mask in enumerate(masks):
        image = Image.fromarray(mask)
        image.putpalette([value for i in range(256) for value in (i, 255 - i, i * 37 % 256)])
        image.save(folder / f"{index:05d}.png")


def synthetic_truth() -> Masks:
    """30 frames of 97 x 151 with five objects, all in the first frame.

    1: a disk that leaves at the right edge. 2: a bar along bottom and left edge; it covers all of frame 20.
    3: a ring, absent from frame 9 to 15. 4: single pixels, in the last corner too. 5: first frame only.
    """
    h, w = 97, 151
    y, x = np.mgrid[:h, :w]
    masks = []
    for t in range(30):
        mask = np.zeros((h, w), np.uint8)
        mask[(y - 40) ** 2 + (x - 60 - 4 * t) ** 2 <= 400] = 1
        mask[h - 10 - t % 4 :, :] = 2
        mask[:, : 5 + t % 3] = 2
        if not 9 <= t <= 15:
            reach = (y - 30 - t) ** 2 + (x - 40) ** 2
            mask[(reach <= 225) & (reach >= 64)] = 3
        mask[5 + t, 100 + t] = mask[-1, -1] = 4
        if t == 20:
            mask[:] = 2
        if t == 0:
            mask[60:70, 90:120] = 5
        masks.append(mask)
    return masks


def perturbed(truth: Masks) -> Iterator[np.ndarray]:
    """Predictions with one kind of fault per frame, in turn; no id that the truth does not have."""
    last = int(truth[0].max())
    for t, mask in enumerate(truth):
        yield _FAULTS[t % len(_FAULTS)](mask, t, last)


def _shifted(mask: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Move the content down and right; what comes in is background."""
    h, w = mask.shape
    out = np.zeros_like(mask)
    out[max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)] = mask[
        max(-dy, 0) : h + min(-dy, 0), max(-dx, 0) : w + min(-dx, 0)
    ]
    return out


def _grown(mask: np.ndarray, t: int, last: int) -> np.ndarray:
    reach = 1 + t % 5
    return np.maximum.reduce(
        [_shifted(mask, dy, dx) for dy in (-reach, 0, reach) for dx in (-reach, 0, reach)]
    )


def _shrunk(mask: np.ndarray, t: int, last: int) -> np.ndarray:
    reach = 1 + t % 7
    return np.minimum.reduce(
        [_shifted(mask, dy, dx) for dy in (-reach, 0, reach) for dx in (-reach, 0, reach)]
    )


def _swapped(mask: np.ndarray, t: int, last: int) -> np.ndarray:
    return np.where(mask > 0, last + 1 - mask, 0).astype(np.uint8)


def _speckled(mask: np.ndarray, t: int, last: int) -> np.ndarray:
    """Holes and false specks on a grid of whole-number noise."""
    y, x = np.indices(mask.shape)
    noise = (y // 3 * 7919 + x // 3 * 104729 + t * 31) % 97
    out = np.where(noise < 6, 0, mask)
    return np.where(noise == 50, 1 + (y + x) % last, out).astype(np.uint8)


def _halved(mask: np.ndarray, t: int, last: int) -> np.ndarray:
    out = mask.copy()
    out[:, mask.shape[1] * (2 + t % 4) // 6 :] = 0
    return out


_FAULTS = (
    lambda mask, t, last: mask,
    lambda mask, t, last: _shifted(mask, t % 5 - 2, t % 7 - 3),
    _grown,
    _shrunk,
    lambda mask, t, last: _shifted(mask, t % 23 - 11, 12 - t % 19),
    _speckled,
    lambda mask, t, last: np.zeros_like(mask),
    _halved,
    _swapped,
    lambda mask, t, last: (
        np.full_like(mask, 1 + t % last) if t % 20 == 9 else _shifted(mask, t // 2, -t // 3)
    ),
)
