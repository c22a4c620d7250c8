"""Results of finished runs in a file that grows line by line, so that an interrupted table goes on."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

from torch import nn

from stremn.errors import StremnError
from stremn.files.atomic import replacing, write_error
from stremn.files.tensors import tensors_digest
from stremn.metrics import ObjectScore
from stremn.models import ModelConfig

__all__ = ["Kept", "Result", "ResultStore", "key_of", "weights_digest"]

log = logging.getLogger("stremn")


class Kept(Protocol):
    """What a store can keep: a dataclass of JSON values with a ``key``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> str:
        """Of settings, weights and data, see :func:`key_of`."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of :func:`dataclasses.asdict`."""


Kind = TypeVar("Kind", bound=Kept)
Asked = TypeVar("Asked")


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
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of :func:`dataclasses.asdict`."""
        scores = tuple(ObjectScore(**score) for score in data["scores"])
        return cls(**(data | {"scores": scores, "ages": tuple(data["ages"])}))


class ResultStore(Generic[Kind]):
    """The results in one file, one JSON object a line. A line that was cut off is passed over.

    Args:
        path: of the file, made by the first result; ``None`` keeps results in memory only.
        kind: class of the results, :class:`Result` or another.

    Raises:
        StremnError: if there is a file that cannot be read.
    """

    def __init__(self, path: Path | None, kind: type[Kind]) -> None:
        """Read what is there."""
        self.path = path
        self._kind = kind
        self._results: dict[str, Kind] = {}
        if path is not None and path.exists():
            self._read(path)

    def find(self, key: str) -> Kind | None:
        """The result of that key."""
        return self._results.get(key)

    def missing(self, keys: Mapping[Asked, str]) -> list[Asked]:
        """What of ``keys`` has no result yet."""
        return [asked for asked, key in keys.items() if key not in self._results]

    def add(self, result: Kind) -> None:
        """Keep a result, in the file at once.

        Raises:
            StremnError: if it cannot be written.
        """
        self._results[result.key] = result
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(result))
        except OSError as error:
            raise write_error(self.path, error) from error

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except OSError as error:
            raise StremnError(f"{path}: cannot be read ({error.strerror}); give another --out") from error
        lost = 0
        for line in lines:
            try:
                result = self._kind.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                lost += 1
                continue
            self._results[result.key] = result
        if lost or (lines and not lines[-1].endswith("\n")):
            log.warning("%s: %d lines were not complete and are left out", path, lost)
            # The next line must not be appended to half of one.
            with replacing(path) as part:
                part.write_text("".join(map(_line, self._results.values())), encoding="utf-8")


def key_of(facts: dict[str, Any]) -> str:
    """A digest of JSON values; equal facts have equal keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def weights_digest(model: nn.Module) -> str:
    """A digest of a model's config and weights."""
    return tensors_digest(model.state_dict(), cast(ModelConfig, model.config).to_json())


def _line(result: Kept) -> str:
    return json.dumps(asdict(result), ensure_ascii=False) + "\n"
