"""Frames and masks as people have them, brought to one form."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError

__all__ = ["as_frame", "as_object_masks", "checked_id", "internal_size", "to_input"]


def as_frame(frame: Any) -> np.ndarray:
    """A frame as ``(H, W, 3)`` uint8 RGB.

    Args:
        frame: NumPy array ``(H, W, 3)`` (or ``(H, W)`` grey), PIL image, or tensor ``(3, H, W)``; uint8, or
            floating point in [0, 1].

    Raises:
        StremnError: if it is none of these.
    """
    if isinstance(frame, Tensor):
        frame = frame.detach().cpu()
        if frame.dim() == 3 and frame.shape[0] in (1, 3):
            frame = frame.permute(1, 2, 0)
        frame = frame.float().numpy() if frame.is_floating_point() else frame.numpy()
    elif not isinstance(frame, np.ndarray):
        frame = np.asarray(frame.convert("RGB") if hasattr(frame, "convert") else frame)
    if frame.ndim == 2:
        frame = frame[:, :, None]
    if frame.ndim != 3 or frame.shape[2] not in (1, 3) or 0 in frame.shape:
        raise StremnError(f"a frame must be (H, W, 3) RGB, not of shape {frame.shape}")
    if np.issubdtype(frame.dtype, np.floating):
        frame = (np.clip(frame, 0, 1) * 255).round().astype(np.uint8)
    if frame.dtype != np.uint8:
        raise StremnError(f"a frame must be uint8 or floating point in [0, 1], not {frame.dtype}")
    return np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame


def as_object_masks(masks: Any, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """Masks given with a frame as one boolean ``(H, W)`` array per object id.

    Args:
        masks: a label map ``(H, W)`` of ids, 0 = background (array, PIL image or tensor), or a mapping from
            id to boolean mask; where these overlap, the later one wins.
        size: (H, W) of the frame.

    Raises:
        StremnError: if the size differs, an id is not in 1–255, or a mask is empty.
    """
    if isinstance(masks, Mapping):
        given = {checked_id(key): _plain(mask) != 0 for key, mask in masks.items()}
        labels = np.zeros(size, np.uint8)
        for key, mask in given.items():
            _check_mask(mask, size)
            if not mask.any():
                raise StremnError(f"the mask of object {key} is empty")
            labels[mask] = key
    else:
        labels = _plain(masks)
        _check_mask(labels, size)
        given = {checked_id(i): labels == i for i in np.unique(labels).tolist() if i != 0}
    if not given:
        raise StremnError("the mask holds no object: every pixel is 0")
    result = {key: labels == key for key in given}
    for key, mask in result.items():
        if not mask.any():
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


def checked_id(key: Any) -> int:
    """An object id as a plain number.

    Raises:
        StremnError: if it is no whole number from 1 to 255.
    """
    if not isinstance(key, (int, float, np.integer, np.floating)) or not 1 <= key <= 255 or int(key) != key:
        raise StremnError(f"object id {key!r} is not a whole number from 1 to 255")
    return int(key)


def _plain(mask: Any) -> np.ndarray:
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    return array[0] if array.ndim == 3 and array.shape[0] == 1 else array


def internal_size(size: tuple[int, int], shorter: int, stride: int, scale: float = 1.0) -> tuple[int, int]:
    """(h, w) at which the network computes: shorter side near ``scale · shorter``, divisible by ``stride``.

    With ``shorter`` = 0 it is the frame's own times ``scale``.
    """
    factor = scale * (shorter / min(size) if shorter else 1.0)
    height, width = (max(stride, round(side * factor / stride) * stride) for side in size)
    return height, width


def to_input(frame: np.ndarray, size: tuple[int, int], device: torch.device) -> Tensor:
    """A frame as ``(1, 3, h, w)`` float32 in [0, 1] at the internal size."""
    if frame.shape[:2] != size:
        shrinks = size[0] < frame.shape[0]
        frame = cv2.resize(
            frame, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    tensor = torch.from_numpy(np.require(frame, requirements=("C", "W"))).to(device)
    return tensor.permute(2, 0, 1).unsqueeze(0).float().div_(255)
