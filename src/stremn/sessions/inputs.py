"""Frames and masks as people have them, brought to one form."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from PIL import Image

from stremn.errors import StremnError, one_line
from stremn.files import Legend
from stremn.files.images import UNREADABLE, to_rgb8
from stremn.files.masks import label_image

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "as_frame",
    "as_object_id",
    "as_object_ids",
    "as_object_masks",
    "bilinear",
    "internal_size",
    "resized",
    "to_input",
]

log = logging.getLogger("stremn")

_ROUNDING = 1e-3


def as_frame(frame: Any) -> np.ndarray:
    """A frame as ``(H, W, 3)`` uint8 RGB.

    Args:
        frame: NumPy array ``(H, W, 3)`` (or ``(H, W)`` grey), Pillow image of any mode, or tensor
            ``(3, H, W)``; arrays and tensors are uint8, or floating point in [0, 1].

    Raises:
        StremnError: if it is none of these, or floating point with values beyond [0, 1].
    """
    if isinstance(frame, Image.Image):
        try:
            return to_rgb8(frame)
        except UNREADABLE as error:
            raise StremnError(f"the frame is a picture that cannot be read: {error}") from error
    if _is_tensor(frame) and frame.dim() == 3 and frame.shape[0] in (1, 3):
        frame = frame.permute(1, 2, 0)
    frame = _as_array(frame, "a frame")
    if frame.ndim == 2:
        frame = frame[:, :, None]
    if frame.ndim != 3 or frame.shape[2] not in (1, 3) or 0 in frame.shape:
        raise StremnError(f"a frame must be (H, W, 3) RGB, not of shape {frame.shape}")
    if np.issubdtype(frame.dtype, np.floating):
        least, most = float(frame.min()), float(frame.max())
        # Written so that what is not a number is refused too.
        if not (least >= -_ROUNDING and most <= 1 + _ROUNDING):
            raise StremnError(
                f"a frame in floating point must be in [0, 1], this one goes from {least:g} to {most:g}: "
                "divide by 255, or give uint8"
            )
        frame = (np.clip(frame, 0, 1) * 255).round().astype(np.uint8)
    if frame.dtype != np.uint8:
        raise StremnError(f"a frame must be uint8 or floating point in [0, 1], not {frame.dtype}")
    return np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame


def as_object_masks(masks: Any, size: tuple[int, int], *, empty: bool = False) -> dict[int, np.ndarray]:
    """Masks given with a frame as one boolean ``(H, W)`` array per object id.

    Args:
        masks: a label map ``(H, W)`` of ids, 0 = background (array or tensor), in which 255 beside other ids
            is void and so background, or of booleans, where object 1 is; a Pillow image, read as a mask file
            is; or a mapping from id to a mask of booleans, of 0 and 1, or of 0 and 255; where these overlap,
            the later one wins.
        size: ``(H, W)`` of the frame.
        empty: whether a mask in a mapping may be empty.

    Raises:
        StremnError: if the size differs, an id is not in 1-255, a mask is empty, or one in a mapping holds
            other values, such as probabilities.
    """
    nowhere: set[int] = set()
    if isinstance(masks, Mapping):
        ids = [as_object_id(key) for key in masks]
        labels = np.zeros(size, np.uint8)
        for key, given in zip(ids, masks.values(), strict=True):
            mask = _binary(given, key)
            _check_mask(mask, size)
            if not mask.any():
                if not empty:
                    raise StremnError(f"the mask of object {key} is empty")
                nowhere.add(key)
            labels[mask] = key
    else:
        labels = _read_labels(masks)
        _check_mask(labels, size)
        ids = [as_object_id(i) for i in np.unique(labels).tolist() if i != 0]
        if 255 in ids:
            labels, found = Legend().without_void(labels.astype(np.uint8))
            if found:
                ids.remove(255)
                log.warning("255 beside other ids in a label map: void, taken as background")
    if not ids:
        raise StremnError("the mask holds no object: every pixel is 0")
    result = {key: labels == key for key in ids}
    for key, mask in result.items():
        if not mask.any() and key not in nowhere:
            raise StremnError(f"the mask of object {key} is covered by the masks given after it")
    return result


def _check_mask(mask: np.ndarray, size: tuple[int, int]) -> None:
    if mask.ndim != 2:
        raise StremnError(f"a mask must be (H, W), not of shape {mask.shape}")
    if mask.shape != size:
        raise StremnError(
            f"mask of {mask.shape[1]}x{mask.shape[0]} pixels for a frame of {size[1]}x{size[0]}: "
            "they must be equal"
        )


def as_object_id(key: Any) -> int:
    """An object id as an ``int``; numbers of NumPy are taken too.

    Raises:
        StremnError: if it is not a whole number from 1 to 255.
    """
    if (isinstance(key, np.ndarray) or _is_tensor(key)) and key.ndim == 0:
        key = key.item()
    number = isinstance(key, (int, float, np.integer, np.floating)) and not isinstance(key, bool)
    if not number or not 1 <= key <= 255 or int(key) != key:
        raise StremnError(f"object id {key!r} is not a whole number from 1 to 255")
    return int(key)


def as_frame_index(number: Any) -> int:
    """The number of a frame as an ``int``; numbers of NumPy are taken too.

    Raises:
        StremnError: if it is no whole number that a state can hold.
    """
    if not isinstance(number, (int, np.integer)) or not abs(int(number)) < 2**62:
        raise StremnError(f"frame_index {number!r} is no number of a frame: give a whole number from 0")
    return int(number)


def as_object_ids(ids: Any) -> list[int]:
    """One object id, or several in anything that can be iterated over, as a list.

    Raises:
        StremnError: if one is not a whole number from 1 to 255; text is none.
    """
    several = isinstance(ids, Iterable) and not isinstance(ids, (str, bytes)) and getattr(ids, "ndim", 1) != 0
    return [as_object_id(key) for key in ids] if several else [as_object_id(ids)]


def _read_labels(masks: Any) -> np.ndarray:
    if not isinstance(masks, Image.Image):
        labels = _plain(masks)
        return labels.astype(np.uint8) if labels.dtype == bool else labels
    mask = label_image(masks)
    for note in mask.notes:
        log.warning("mask: %s", note)
    return mask.labels


def _binary(given: Any, key: int) -> np.ndarray:
    values = _plain(given)
    if values.dtype == bool:
        return values
    inside = values != 0
    # Written so that what is not a number is refused too.
    if inside.any() and not ((values[inside] == 1).all() or (values[inside] == 255).all()):
        raise StremnError(
            f"the mask of object {key} must hold 0 and 1, 0 and 255, or booleans, and nothing else: "
            "of logits give mask > 0, of probabilities mask > 0.5"
        )
    return inside


def _plain(mask: Any) -> np.ndarray:
    array = _as_array(mask, "a mask")
    if not (array.dtype == bool or np.issubdtype(array.dtype, np.number)):
        raise StremnError(f"a mask must hold numbers, not {array.dtype}")
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array


def _as_array(value: Any, what: str) -> np.ndarray:
    try:
        if _is_tensor(value):
            value = value.detach().cpu()
            value = value.float() if value.is_floating_point() else value
            return value.numpy()
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # of sparse tensors, of lists of unequal lists
        raise StremnError(f"{what} must be an array or a dense tensor ({one_line(error)})") from error


LONGEST = 8
"""How often the longer side may hold the shorter one; frames that are longer are computed smaller, since
else a strip of a few lines would take more memory than there is."""


def internal_size(size: tuple[int, int], shorter: int, stride: int, scale: float = 1.0) -> tuple[int, int]:
    """The ``(h, w)`` at which the network computes: shorter side near ``scale · shorter``, whole strides.

    With ``shorter`` = 0 it is the frame's own times ``scale``. The longer side is
    :data:`LONGEST` times that at most.
    """
    factor = scale * (min(shorter / min(size), LONGEST * shorter / max(size)) if shorter else 1.0)
    height, width = (max(stride, round(side * factor / stride) * stride) for side in size)
    return height, width


def resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame ``(H, W, 3)`` uint8 at the internal size: by area when smaller, bilinear when larger."""
    import cv2

    if frame.shape[:2] == size:
        return frame
    shrinks = size[0] < frame.shape[0]
    return cv2.resize(
        frame, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values ``(H, W)`` float32 enlarged to (h, w), without OpenCV."""
    return np.asarray(Image.fromarray(values).resize(size[::-1], Image.Resampling.BILINEAR))


def to_input(frame: np.ndarray, size: tuple[int, int], device: torch.device) -> Tensor:
    """A frame as ``(1, 3, h, w)`` float32 in [0, 1] at the internal size."""
    import torch

    frame = resized(frame, size)
    # What counts as contiguous may still have a negative stride along a side of one pixel.
    frame = frame.copy() if min(frame.strides) < 0 else np.require(frame, requirements=("C", "W"))
    tensor = torch.from_numpy(frame).to(device)
    return tensor.permute(2, 0, 1).unsqueeze(0).to(torch.float32).div_(255)


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    """Without importing PyTorch: where it was not imported there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
