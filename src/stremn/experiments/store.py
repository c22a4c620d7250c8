"""Results of finished runs in a file that grows line by line, so that an interrupted table goes on."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stremn.errors import StremnError
from stremn.files.atomic import replacing, write_error
from stremn.metrics import ObjectScore
from stremn.models import Segmenter

__all__ = ["Result", "ResultStore", "key_of", "weights_digest"]

log = logging.getLogger("stremn")


@dataclass(frozen=True)
class Result:
    """What one session made of one sequence.

    Attributes:
        key: of settings, weights and sequence, see :func:`key_of`.
        sequence: its name.
        settings: of the session, to be read by people.
        frames: how many were played.
        scores: of the objects.
        ages: how many chosen templates were ``t`` frames old, by ``t``, over all frames and objects (M12).
        held: by object id the frame in each slot at the end, -1 = empty (Fig. 6 of the paper).
    """

    key: str
    sequence: str
    settings: dict[str, Any]
    frames: int
    scores: tuple[ObjectScore, ...]
    ages: tuple[int, ...]
    held: dict[str, list[int]]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Result":
        """The inverse of :func:`dataclasses.asdict`."""
        scores = tuple(ObjectScore(**score) for score in data["scores"])
        return cls(**(data | {"scores": scores, "ages": tuple(data["ages"])}))


class ResultStore:
    """The results in one file, one JSON object a line. A line that was cut off is passed over.

    Args:
        path: of the file; made by the first result.

    Raises:
        StremnError: if there is a file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self.path = path
        self._results: dict[str, Result] = {}
        if path.exists():
            self._read()

    def find(self, key: str) -> Result | None:
        """The result of that key."""
        return self._results.get(key)

    def add(self, result: Result) -> None:
        """Keep a result, in the file at once.

        Raises:
            StremnError: if it cannot be written.
        """
        self._results[result.key] = result
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(result))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except OSError as error:
            raise StremnError(
                f"{self.path}: cannot be read ({error.strerror}); give another --out"
            ) from error
        lost = 0
        for line in lines:
            try:
                result = Result.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError):
                lost += 1
                continue
            self._results[result.key] = result
        if lost or (lines and not lines[-1].endswith("\n")):
            log.warning("%s: %d lines were not complete and are left out", self.path, lost)
            # The next line must not be appended to half of one.
            with replacing(self.path) as part:
                part.write_text("".join(map(_line, self._results.values())), encoding="utf-8")


def key_of(facts: dict[str, Any]) -> str:
    """A digest of JSON values; equal facts have equal keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def weights_digest(model: Segmenter) -> str:
    """A digest of a model's config and weights."""
    digest = hashlib.sha256(model.config.to_json().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _line(result: Result) -> str:
    return json.dumps(asdict(result), ensure_ascii=False) + "\n"
