"""The first guess at an object that a box, points or scribbles show, by a network.

It is ``stremn-lite`` with a value encoder and a decoder that were taught to take what is believed of the
object for a template. The template is read where it was written: the memory's read spreads it over what looks
alike, and the target model is a ridge regression from the frame's features to the belief, in closed form.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from stremn.memory import MemoryLayout, SlotMemory
from stremn.models import Segmenter, from_pretrained
from stremn.runtime import for_inference

__all__ = ["guess_object"]

WEIGHTS = Path(__file__).parents[1] / "weights" / "stremn-prompt.safetensors"

SIDE = 192
"""Of the square window that the network looks at, in pixels."""

SURROUNDINGS = 1.5
"""Side of the window by the longer side of the object."""

STRIDE = 4
"""Of beliefs and logits."""

DOUBT = 0.5
"""How surely what a mask so far leaves out is taken for not the object; what it holds is taken for it."""

Bounds = tuple[int, int, int, int]


@cache
def _network() -> Segmenter:
    return for_inference(from_pretrained(WEIGHTS), torch.device("cpu"), torch.float32)


def guess_object(
    frame: np.ndarray, bounds: Bounds | None, seeds: np.ndarray, before: np.ndarray | None = None
) -> np.ndarray:
    """Where the object probably is.

    Args:
        frame: ``(H, W, 3)`` uint8 RGB.
        bounds: left, top, right and bottom of a box around it, if there is one; else there are seeds on it.
        seeds: ``(H, W)`` int8, 1 on the object, -1 beside it, 0 not said.
        before: its mask so far ``(H, W)`` bool, if there is one and no box; not empty.

    Returns:
        ``(H, W)`` bool, within the bounds; may be empty.
    """
    if bounds is not None:
        return _look(frame, bounds, SURROUNDINGS, seeds, boxed=True)
    if before is not None:
        return _look(frame, _around(before | (seeds > 0)), SURROUNDINGS, seeds, before)
    found = _touched(_look(frame, (0, 0, *seeds.shape[::-1]), 1, seeds), seeds > 0)
    return _touched(_look(frame, _around(found), SURROUNDINGS, seeds), seeds > 0)


def _around(mask: np.ndarray) -> Bounds:
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height


def _look(
    frame: np.ndarray,
    near: Bounds,
    surroundings: float,
    seeds: np.ndarray,
    before: np.ndarray | None = None,
    *,
    boxed: bool = False,
) -> np.ndarray:
    """The object in a window around some bounds, which it does not leave if it is ``boxed``."""
    left, top, right, bottom = near
    factor = SIDE / (surroundings * max(right - left, bottom - top))
    shift = np.array([SIDE - factor * (left + right), SIDE - factor * (top + bottom)]) / 2

    def warped(scale: float) -> np.ndarray:
        # OpenCV counts from the middle of the first pixel.
        moved = shift * scale + 0.5 * factor * scale - 0.5
        return np.array([[factor * scale, 0, moved[0]], [0, factor * scale, moved[1]]])

    def seen(picture: np.ndarray, scale: float, side: int, beyond: int) -> np.ndarray:
        if factor * scale < 0.75:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.3 / (factor * scale))
        return np.asarray(cv2.warpAffine(picture, warped(scale), (side, side), borderMode=beyond))

    cells = SIDE // STRIDE
    window = seen(frame, 1, SIDE, cv2.BORDER_REPLICATE)
    on, beside = (_cells(seeds == sign, factor / STRIDE, shift / STRIDE, cells) for sign in (1, -1))
    box = np.ones((cells, cells), np.float32)
    if boxed:
        ends = np.array([[left, right], [top, bottom]]) * factor + shift[:, None]
        across, down = (_covered(cells, *(end / STRIDE)) for end in ends)
        box = np.outer(down, across)
    likely, unlikely = 0.5 * box if boxed else 0 * box, 1 - box
    if before is not None:
        likely = seen(before.astype(np.float32), 1 / STRIDE, cells, cv2.BORDER_CONSTANT)
        unlikely = DOUBT * (1 - likely)
    belief = np.where(on, 1, likely * ~beside)
    excluded = np.where(on, 0, np.maximum(unlikely, beside))
    logits = _decoded(window, np.stack([belief, excluded])[:, None].astype(np.float32))
    back = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    full = cv2.warpAffine(logits, warped(1 / STRIDE), seeds.shape[::-1], flags=back, borderValue=(-1,))
    found = np.asarray(full) > 0
    if boxed:
        inside = np.zeros_like(found)
        inside[top:bottom, left:right] = True
        found &= inside
    return found


@torch.inference_mode()
def _decoded(window: np.ndarray, beliefs: np.ndarray) -> np.ndarray:
    """Logits ``(h', w')`` of the object, for masks of it and of all else ``(2, 1, h', w')``."""
    network = _network()
    image = torch.from_numpy(window).permute(2, 0, 1).unsqueeze(0).float() / 255
    features = network.encode_image(image)
    template = network.encode_template(features, torch.from_numpy(beliefs)).of_objects(slice(1))
    memory = SlotMemory.of_first_frame(template, 0, MemoryLayout.of_slots(2))
    return network.decode(features, network.read(features, memory))[0, 0].float().numpy()


def _cells(said: np.ndarray, factor: float, shift: np.ndarray, cells: int) -> np.ndarray:
    """Cells of the window ``(cells, cells)`` near pixels that are said: a click is wider than a pixel."""
    y, x = np.nonzero(said)
    places = np.floor((np.stack([x, y], axis=1) + 0.5) * factor + shift).astype(int)
    places = places[((places >= 0) & (places < cells)).all(axis=1)]
    found = np.zeros((cells, cells), np.uint8)
    found[places[:, 1], places[:, 0]] = 1
    return np.asarray(cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))) > 0


def _covered(cells: int, start: float, end: float) -> np.ndarray:
    """How much of each of a row of cells lies from start to end, in cells."""
    index = np.arange(cells)
    return np.clip(np.minimum(index + 1, end) - np.maximum(index, start), 0, 1)


def _touched(found: np.ndarray, said: np.ndarray) -> np.ndarray:
    """The parts that hold a pixel that is said, and these pixels."""
    found = found | said
    _, parts = cv2.connectedComponents(found.view(np.uint8))
    return np.isin(parts, np.unique(parts[said]))
