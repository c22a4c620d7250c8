"""The paper's figures of a finished run (Fig. 3-11): its record on disk, and pictures made of it.

Nothing is segmented or predicted again: pictures are made of the record, the masks or frames beside it, and
the frames of the data set.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from PIL import Image

from stremn.data import Video
from stremn.data.segmentation.images import read_rgb
from stremn.errors import StremnError
from stremn.files.drawing import SheetRow, cell_factor, overlay, scaled, sheet
from stremn.files.masks import read_ids
from stremn.files.names import image_files
from stremn.files.outputs import make_folder, write_json, write_png
from stremn.memory.history import CHOSEN
from stremn.metrics.prediction.scores import PredictionScores
from stremn.sessions.settings import PredictionSettings
from stremn.tables.engine import Trial
from stremn.tables.segmentation import Run

__all__ = [
    "CASES",
    "RECORD",
    "KeptClips",
    "PlayedSequence",
    "best_and_worst",
    "clips_sheet",
    "memory_sheet",
    "read_record",
    "sequences_sheet",
]

RECORD = "evaluation.json"
"""Name of the record in the folder of a run."""

CASES = 4
"""Best ones, worst ones and memories that are shown, at most."""

_FRAMES, _QUERIES, _SLOTS, _MOMENTS = 6, 4, 8, 10  # columns and rows of the sheets, at most


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        StremnError: if there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StremnError(
            f"{folder} has no {RECORD}: make it by 'stremn evaluate DATA --out {folder}'"
        ) from error
    except (OSError, ValueError) as error:
        raise StremnError(f"{path} is damaged: make it again by 'stremn evaluate DATA --out …'") from error
    if not isinstance(record, dict) or not {"memory", "kept"} & set(record):
        raise StremnError(f"{path} is not of a run: make it by 'stremn evaluate DATA --out …'")
    return record


def best_and_worst(scores: Mapping[Any, float]) -> tuple[list[Any], list[Any]]:
    """Names in the order of their scores, from the best and from the worst; none is in both."""
    ranked = sorted(scores, key=lambda name: scores[name], reverse=True)
    return ranked[: min(CASES, -(-len(ranked) // 2))], ranked[::-1][: min(CASES, len(ranked) // 2)]


@dataclass(frozen=True)
class PlayedSequence:
    """A sequence of a run as its record has it.

    Attributes:
        name: of the sequence.
        images: folder of its frames.
        masks: folder of the masks that were predicted.
        frames: how many there were.
        ages: by ``t``, how many chosen templates were ``t`` frames older than the query.
        held: by object id, for each slot what it holds from which frame on.
    """

    name: str
    images: Path
    masks: Path
    frames: int
    ages: Sequence[int]
    held: Mapping[int, Sequence[Mapping[int, int]]]

    @staticmethod
    def to_dict(run: Run, video: Video, masks: Path, out: Path) -> dict[str, Any]:
        """What the record in ``out`` says of a finished sequence, whose masks are in a folder in it."""
        return {
            "images": str(video.frames[0].parent.resolve()),
            "masks": str(masks.relative_to(out)),
            "frames": len(video.frames),
            "ages": np.trim_zeros(run.history.ages, "b").tolist(),
            "held": run.history.changes(),
        }

    @classmethod
    def all_of(cls, folder: Path, record: Mapping[str, Any]) -> dict[str, Self]:
        """Those of a record by name.

        Raises:
            StremnError: if it lacks something.
        """
        try:
            return {
                name: cls(
                    name,
                    Path(known["images"]),
                    folder / known["masks"],
                    int(known["frames"]),
                    [int(count) for count in known["ages"]],
                    {int(key): [_whole(slot) for slot in slots] for key, slots in known["held"].items()},
                )
                for name, known in record["memory"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StremnError(
                f"{folder / RECORD} is damaged ({error!r}): make it again by 'stremn evaluate DATA --out …'"
            ) from error

    @property
    def most_changed(self) -> tuple[int, int] | None:
        """The object whose chosen slots changed most often, and how often; ``None`` if none was looked up."""
        counts = {
            key: sum(index >= 0 for slot in slots[CHOSEN:] for index in slot.values())
            for key, slots in self.held.items()
            if min(slots[0]) < self.frames - 1
        }
        return max(counts.items(), key=lambda entry: entry[1], default=None)

    @cached_property
    def _files(self) -> list[Path]:
        files = image_files(self.images)
        if len(files) != self.frames:
            raise StremnError(
                f"{self.images} holds {len(files)} frames, and {self.frames} were played: "
                "put the data back where it was, or run 'stremn evaluate' again"
            )
        return files

    def picture(self, index: int, width: int, object_id: int | None = None) -> np.ndarray:
        """A frame of so many pixels in width with all objects drawn on, or with the outline of one.

        Raises:
            StremnError: if the frame or its mask is not where it was.
        """
        path = self._files[index]
        image = read_rgb(path)
        image = scaled(image, width / image.shape[1])
        ids = read_ids(self.masks / f"{path.stem}.png")
        ids = np.asarray(cv2.resize(ids, image.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
        if object_id is None:
            return overlay(image, ids)
        return overlay(image, np.where(ids == object_id, ids, 0).astype(np.uint8), fill=False)


def sequences_sheet(sequences: Iterable[PlayedSequence], scores: Mapping[str, float]) -> np.ndarray:
    """A row for each sequence: frames spread over it with its objects, J&F in the margin (Fig. 3, 10, 11).

    Args:
        sequences: of a run.
        scores: J&F in fractions of 1 by name, where it is known.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    rows = []
    for sequence in sequences:
        shown = _spread(0, sequence.frames - 1, _FRAMES)
        known = f"\nJ&F {100 * scores[sequence.name]:.1f}" if sequence.name in scores else ""
        cells = [sequence.picture(index, 220) for index in shown]
        rows.append(SheetRow(f"{sequence.name}{known}", cells, [f"frame {index}" for index in shown]))
    return sheet(rows)


def memory_sheet(sequence: PlayedSequence, object_id: int) -> np.ndarray:
    """A row for each of some queries: the frame, and those that the memory held for it (Fig. 6, 7).

    A frame is looked up in what the memory held before it, so the latest slot holds the frame before. Chosen
    slots stand between the first and the latest; of many, as of growing memory, some of the filled are shown.

    Args:
        sequence: of a run.
        object_id: whose memory, followed for two frames or more.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    slots = sequence.held[object_id]
    first = min(slots[0])
    order = [0, *range(CHOSEN, len(slots)), 1]
    names = ["first", "latest", *(f"chosen {number}" for number in range(1, len(slots) - 1))]
    rows = []
    for query in _spread(first, sequence.frames - 1, _QUERIES + 1)[1:]:
        cells: list[np.ndarray | None] = [sequence.picture(query, 180, object_id)]
        titles = ["query"]
        held = {
            slot: [-1, *(index for since, index in slots[slot].items() if since < query)][-1]
            for slot in order
        }
        shown = order if len(order) <= _SLOTS else [slot for slot in order if held[slot] >= 0]
        for slot in (shown[place] for place in _spread(0, len(shown) - 1, _SLOTS)):
            index = held[slot]
            cells.append(None if index < 0 else sequence.picture(index, 180, object_id))
            titles.append(f"{names[slot]}: {'empty' if index < 0 else index}")
        rows.append(SheetRow(f"frame {query}", cells, titles))
    return sheet(rows)


@dataclass
class KeptClips:
    """Takes in clips as they are predicted, and keeps the frames of the best and the worst by SSIM.

    Attributes:
        scores: figures of every clip by its number.
        frames: by number the frames of a clip and those predicted, of at most twice :data:`CASES` clips.
    """

    scores: dict[int, Mapping[str, float]] = field(default_factory=dict)
    frames: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def add(
        self,
        trial: Trial[PredictionSettings],
        number: int,
        clip: np.ndarray,
        found: np.ndarray,
        scores: PredictionScores,
    ) -> None:
        """Take in a clip, see :class:`~stremn.tables.PredictClips`; those of baselines are passed over."""
        if trial.baseline:
            return
        self.scores[number] = scores.means
        self.frames[number] = clip, found
        best, worst = best_and_worst({kept: self.scores[kept]["ssim"] for kept in self.frames})
        self.frames = {kept: self.frames[kept] for kept in (*best, *worst)}

    def write(self, out: Path, report: Mapping[str, Any]) -> None:
        """Write the frames that were kept, ``NUMBER/truth`` and ``NUMBER/prediction``, and the record.

        Raises:
            StremnError: if the folder cannot be written to.
        """
        for number, (clip, found) in self.frames.items():
            for name, frames in (("truth", clip), ("prediction", found)):
                folder = out / f"{number:05d}" / name
                make_folder(folder)
                for index, frame in enumerate(frames, start=len(clip) - len(frames)):
                    write_png(folder / f"{index:05d}.png", Image.fromarray(frame))
        kept = {str(number): dict(self.scores[number]) for number in sorted(self.scores)}
        write_json(out / RECORD, dict(report) | {"kept": sorted(self.frames), "scores_of_clips": kept})


def clips_sheet(folder: Path, clips: Mapping[int, Mapping[str, float]], observe: int) -> np.ndarray:
    """Three rows for each clip: observed frames, true and predicted ones, PSNR beside (Fig. 4, 8, 9).

    Args:
        folder: of a run.
        clips: figures by number of a clip whose frames are in the folder.
        observe: M, how many were observed.

    Returns:
        ``(h, w, 3)`` uint8 RGB.

    Raises:
        StremnError: if frames are not there.
    """
    rows = []
    for number, figures in clips.items():
        true = image_files(folder / f"{number:05d}" / "truth")
        predicted = image_files(folder / f"{number:05d}" / "prediction")
        if not predicted or len(true) != observe + len(predicted):
            raise StremnError(f"{folder / f'{number:05d}'}: frames are missing: run 'stremn evaluate' again")
        ahead = _spread(0, len(predicted) - 1, _MOMENTS)
        before = _spread(0, observe - 1, len(ahead))
        factor = cell_factor(read_rgb(true[0]).shape[1])
        titled = f"clip {number}\nSSIM {figures['ssim']:.3f}"
        for name, files, shown in (
            (f"{titled}\nobserved", true, before),
            ("truth", true, [observe + index for index in ahead]),
            (f"prediction\nPSNR {figures['psnr']:.2f}", predicted, ahead),
        ):
            cells = [scaled(read_rgb(files[index]), factor) for index in shown]
            titles = () if files is predicted else [f"frame {index}" for index in shown]
            rows.append(SheetRow(name, cells, titles))
    return sheet(rows)


def _whole(slot: Mapping[str, Any]) -> dict[int, int]:
    return {int(since): int(index) for since, index in slot.items()}


def _spread(first: int, last: int, most: int) -> list[int]:
    """Whole numbers from the first to the last, evenly, at most so many."""
    return np.unique(np.linspace(first, last, min(most, last - first + 1)).round().astype(int)).tolist()
