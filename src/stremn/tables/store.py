"""Results of finished runs in a file that grows line by line, so that an interrupted table goes on."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from stremn.errors import StremnError
from stremn.files.outputs import write_text, writing

__all__ = ["Result", "ResultStore", "Score", "digest_of", "key_of"]

log = logging.getLogger("stremn")


class Score(Protocol):
    """What a table needs of the scores of either task: a dataclass of JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def means(self) -> Mapping[str, float]:
        """Its figures by name."""

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The score of all that several scores are of."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values for reports."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :func:`dataclasses.asdict`."""


AnyScore = TypeVar("AnyScore", bound=Score)


@dataclass(frozen=True)
class Result(Generic[AnyScore]):
    """What one trial made of one item.

    Attributes:
        item: its name.
        settings: of the session, to be read by people.
        frames: how many were segmented or predicted.
        score: of the item; ``None`` where it has no truth.
        ages: by ``t``, how many chosen templates were ``t`` frames older than the frame looked up in them.
        details: what else is worth reading, as JSON values.
    """

    item: str
    settings: dict[str, Any]
    frames: int
    score: AnyScore | None
    ages: tuple[int, ...]
    details: dict[str, Any]


class ResultStore(Generic[AnyScore]):
    """Results by key in one file, one JSON object a line.

    Lines that were cut off, that were changed, or that another version wrote are passed over.

    Args:
        path: of the file, made by the first result; ``None`` keeps results in memory only.
        score: class of the scores.

    Raises:
        StremnError: if there is a file that cannot be read.
    """

    def __init__(self, path: Path | None, score: type[AnyScore]) -> None:
        self.path, self._score = path, score
        self._results: dict[str, Result[AnyScore]] = {}
        if path is not None and path.exists():
            self._read(path)

    def find(self, key: str) -> Result[AnyScore] | None:
        """The result of that key."""
        return self._results.get(key)

    def add(self, key: str, result: Result[AnyScore]) -> None:
        """Keep a result, in the file at once.

        Raises:
            StremnError: if it cannot be written.
        """
        self._results[key] = result
        if self.path is None:
            return
        with writing(self.path), self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_line(key, result))

    def forget(self, key: str) -> None:
        """Let a result be made again; the file keeps it until then."""
        self._results.pop(key, None)

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except OSError as error:
            raise StremnError(f"{path}: cannot be read ({error.strerror}); give another folder") from error
        lost = 0
        for line in lines:
            try:
                data = json.loads(line)
                key, digest = data.pop("key"), data.pop("digest")
                if digest != key_of(data):
                    raise ValueError("changed since it was written")
                score = None if data["score"] is None else self._score.from_dict(data["score"])
                ages = tuple(data["ages"])
                self._results[key] = Result(**(data | {"score": score, "ages": ages}))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                lost += 1
        if lost or (lines and not lines[-1].endswith("\n")):
            log.warning("%s: %d lines are not complete or of another version and are left out", path, lost)
            # The next line must not be appended to half of one.
            whole = (_line(key, result) for key, result in self._results.items())
            write_text(path, "".join(whole))


def key_of(facts: dict[str, Any]) -> str:
    """A digest of JSON values; equal facts have equal keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_of(files: Iterable[Path]) -> str:
    """A digest of files by name, size and time of change, which another one of that name hardly shares."""
    stats = ((file.name, *((s.st_size, s.st_mtime_ns) if (s := _stat(file)) else ())) for file in files)
    return key_of({"files": list(stats)})


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _line(key: str, result: Result[Any]) -> str:
    facts = asdict(result)
    return json.dumps({"key": key, "digest": key_of(facts)} | facts) + "\n"
