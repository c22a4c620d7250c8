"""Follow objects by a graph of :func:`stremn.sessions.export_onnx`, without PyTorch and OpenCV."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from stremn.errors import StremnError, one_line
from stremn.sessions.inputs import (
    as_frame,
    as_frame_index,
    as_object_ids,
    as_object_masks,
    bilinear,
    internal_size,
)
from stremn.sessions.result import SegmentationResult

__all__ = ["KEY", "NEXT", "VERSION", "OnnxSession"]

VERSION = 1
"""Of the graph's inputs and outputs."""

KEY = "stremn"
"""Of the JSON text in the file's metadata."""

NEXT = "next."
"""What the name of an output begins with that is the input of the rest of the name at the next frame."""

HOPELESS = -8.0
"""An object whose logit is lower cannot win a pixel, however many others claim part of it."""

_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


class OnnxSession:
    """The state of one video, followed by a graph that :func:`~stremn.sessions.export_onnx` wrote.

    It is used as a :class:`~stremn.SegmentationSession` is and finds the same up to rounding. What it needs
    is ONNX Runtime, NumPy and Pillow. Policy, slots, size and the most objects at a time are those of
    the file.

    Args:
        path: of the file.
        threads: for one operation; 0 is all cores.

    Attributes:
        facts: what the file says of itself.
        objects: most objects at a time.
        frame_index: of the frame taken last, -1 before the first.
        frame_size: (H, W) of the frames, ``None`` before the first.

    Raises:
        StremnError: if ONNX Runtime is not installed, or the file is missing, damaged or something else.

    Examples:
        >>> OnnxSession("step.onnx")
        Traceback (most recent call last):
        stremn.errors.StremnError: step.onnx: no such file; write one with stremn onnx
    """

    def __init__(self, path: Path | str, *, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise StremnError("ONNX Runtime is not installed: pip install 'stremn[onnx]'") from error
        if not Path(path).is_file():
            raise StremnError(f"{path}: no such file; write one with stremn onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; its notes on the graph are of no use to a user
        try:
            self._graph = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.facts = json.loads(self._graph.get_modelmeta().custom_metadata_map.get(KEY, "{}"))
        # Its errors have no common class.
        except Exception as error:
            raise StremnError(f"{path}: ONNX Runtime cannot use it ({one_line(error)})") from error
        if self.facts.get("version") != VERSION:
            raise StremnError(f"{path}: not written by stremn onnx of this version; write it again")
        inputs = {of.name: of for of in self._graph.get_inputs()}
        self._outputs = [of.name for of in self._graph.get_outputs()]
        self._size = tuple(inputs["frame"].shape[:2])
        self._shape = tuple(inputs["given"].shape)
        self.objects = self._shape[0]
        self._empty = {
            name: (of.shape, _DTYPES[of.type]) for name, of in inputs.items() if NEXT + name in self._outputs
        }
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        self.frame_index = -1
        self.frame_size: tuple[int, int] | None = None
        self._places: dict[int, int] = {}
        self._state = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self._empty.items()}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects followed."""
        return tuple(self._places)

    @property
    def state_bytes(self) -> int:
        """Bytes of the state, the same at every frame."""
        return sum(array.nbytes for array in self._state.values())

    def step(self, frame: Any, masks: Any = None, *, frame_index: int | None = None) -> SegmentationResult:
        """Take the next frame, and give the objects in it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
            masks: objects to follow from this frame on, see :func:`stremn.sessions.inputs.as_object_masks`.
                An id that is followed already starts again from the new mask.
            frame_index: number of the frame in its video, larger than that of the frame before; ``None`` is
                the next one.

        Returns:
            Labels, probabilities and ids. Before any mask was given there are no objects.

        Raises:
            StremnError: if the frame's size is not the graph's or changed, its number did not grow, the masks
                do not fit or are of too many objects; the state is then unchanged.
        """
        image = as_frame(frame)
        size = (image.shape[0], image.shape[1])
        index = self.frame_index + 1 if frame_index is None else as_frame_index(frame_index)
        self._check(size, index)
        given = {} if masks is None else as_object_masks(masks, size)
        stays = {i: place for i, place in self._places.items() if i not in given}
        if (count := len(stays) + len(given)) > self.objects:
            raise StremnError(
                f"{count} objects for a graph of {self.objects}: write another, stremn onnx --objects {count}"
            )
        free = sorted(set(range(self.objects)) - set(stays.values()))
        fresh = dict(zip(given, free, strict=False))
        self.frame_index, self.frame_size, self._places = index, size, {**stays, **fresh}
        labels = np.zeros(size, np.uint8)
        if not self._places:
            return SegmentationResult(index, labels, ())
        shares = np.zeros(self._shape, np.float32)
        for object_id, place in fresh.items():
            shares[place, 0] = _shares(given[object_id], self._shape[2:])
        feed = {
            "frame": _at_size(image, self._size),
            "frame_index": np.array(index),
            "followed": np.isin(range(self.objects), list(stays.values())),
            "new": np.isin(range(self.objects), list(fresh.values())),
            "given": shares,
        }
        found = dict(zip(self._outputs, self._graph.run(None, self._state | feed), strict=True))
        self._state = {name: found[NEXT + name] for name in self._state}
        if stays:
            labels = _labels(found["logits"][list(stays.values()), 0], tuple(stays), size)
        for object_id, mask in given.items():
            labels[mask] = object_id
        places = list(self._places.values())
        sure = dict(zip(self._places, self._state["confidence"][places].tolist(), strict=True))
        return SegmentationResult(index, labels, self.object_ids, sure, self._state["previous"][places])

    def correct(self, masks: Any) -> SegmentationResult:
        """Not in the graph.

        Raises:
            StremnError: always.
        """
        raise StremnError(
            "a graph cannot take corrections: follow with the torch engine, stremn segment --model WEIGHTS"
        )

    def remove(self, object_ids: int | Iterable[int]) -> None:
        """Stop following objects. Ids that are not followed are passed over.

        Raises:
            StremnError: if something is no id.
        """
        gone = as_object_ids(object_ids)
        self._places = {i: place for i, place in self._places.items() if i not in gone}

    def frames_in_memory(self) -> dict[int, list[int]]:
        """For each object id the frame index in each slot, -1 where the slot is empty (M12)."""
        frames = self._state["memory.frame_index"]
        return {i: frames[place].tolist() for i, place in self._places.items()}

    def _check(self, size: tuple[int, int], index: int) -> None:
        if self.frame_size not in (None, size):
            was = self.frame_size or size
            raise StremnError(
                f"frame {index} is {size[1]}x{size[0]} pixels, the frames before were {was[1]}x{was[0]}: "
                "call reset() to begin another video"
            )
        if index <= self.frame_index:
            raise StremnError(f"frame {index} comes after frame {self.frame_index}: frame numbers must grow")
        if internal_size(size, self.facts["shorter"], self.facts["stride"]) != self._size:
            height, width = self.facts["frame_size"]
            raise StremnError(
                f"frames of {size[1]}x{size[0]} pixels for a graph of {width}x{height}: write another, "
                f"stremn onnx --frame {size[1]}x{size[0]}"
            )


def _at_size(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What :func:`stremn.sessions.inputs.resized` gives, up to rounding, without OpenCV."""
    shrinks = size[0] < frame.shape[0]
    for cells in size:
        if (scale := len(frame) / cells) != 1:
            # A window as large as a pixel: its shares of the two below it are those of linear interpolation.
            width = max(scale, 1.0) if shrinks else 1.0
            starts = (np.arange(cells) + 0.5) * scale - width / 2
            sums = np.zeros((cells, *frame.shape[1:]), np.float32)
            taps = np.arange(math.ceil((starts % 1).max() + width))
            for pixel in np.floor(starts).astype(int) + taps[:, None]:
                overlap = np.minimum(pixel + 1, starts + width) - np.maximum(pixel, starts)
                share = (overlap.clip(0) / width).astype(np.float32)
                sums += frame[pixel.clip(0, len(frame) - 1)] * share[:, None, None]
            frame = sums
        frame = np.ascontiguousarray(frame.swapaxes(0, 1))
    return frame.round().astype(np.uint8)


def _shares(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """How much of each cell a mask ``(H, W)`` bool covers ``(h, w)``; cells that share pixels overlap."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    ends = []
    for pixels, cells in zip(mask.shape, size, strict=True):
        cell = np.arange(cells)
        ends.append((cell * pixels // cells, -(-(cell + 1) * pixels // cells)))
    (top, bottom), (left, right) = ends
    covered = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    return covered / np.outer(bottom - top, right - left)


def _labels(logits: np.ndarray, object_ids: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """The winning id of every pixel ``(H, W)`` uint8 for logits ``(O, h', w')``, as a session's label map."""
    fine = np.stack([bilinear(one, size) for one in logits])
    best = fine.max(axis=0)
    wins = best > 0
    if len(object_ids) > 1:
        # Where all claim less than half, one may still have more than the background is left with.
        doubtful = ~wins & (best > HOPELESS)
        log_background = np.clip(-np.logaddexp(0, fine[:, doubtful]).sum(axis=0), -60.0, -1e-6)
        wins[doubtful] = best[doubtful] > log_background - np.log(-np.expm1(log_background))
    return np.where(wins, np.array(object_ids, np.uint8)[fine.argmax(axis=0)], np.uint8(0))
