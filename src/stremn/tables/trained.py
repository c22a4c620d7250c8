"""How weights were trained, as far as the files beside them tell."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Training", "read_training"]

_CHECKPOINT = re.compile(r"step-0*(\d+)")


@dataclass(frozen=True)
class Training:
    """The run that made some weights, as far as it is known.

    Attributes:
        text: what is printed, where it was given by hand; else empty.
        steps: optimiser steps.
        seconds: of the steps and validations.
        chosen_step: of the best weights, where the file is those; ``None`` for the last ones.
        device: where it ran, as ``machine``, ``commit`` of the source and ``date``, from the run's record.
    """

    text: str = ""
    steps: int | None = None
    seconds: float | None = None
    chosen_step: int | None = None
    device: str | None = None
    machine: dict[str, Any] | None = None
    commit: str | None = None
    date: str | None = None

    def __str__(self) -> str:
        """For a column of a table, as ``10000 steps, 2.1 h``."""
        if self.text or self.steps is None:
            return self.text
        chosen = "" if self.chosen_step in (None, self.steps) else f" (best at {self.chosen_step})"
        seconds = self.seconds or 0
        took = f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
        return f"{self.steps} steps{chosen}, {took}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def read_training(weights: Path | str) -> Training | None:
    """The run in whose folder a weights file or checkpoint lies; ``None`` if there is none, or for a name."""
    path = Path(weights)
    folders = (path, *path.parents[:3]) if path.exists() else ()
    run = next((folder for folder in folders if (folder / "run.json").is_file()), None)
    if run is None:
        return None
    facts, lines = _parsed(_text(run / "run.json")), _text(run / "log.jsonl").splitlines()
    log = [entry for entry in map(_parsed, lines) if isinstance(entry.get("step"), int)]
    checkpoint = _CHECKPOINT.search(path.relative_to(run).as_posix())
    if checkpoint:
        log = [entry for entry in log if entry["step"] <= int(checkpoint[1])]
    timed = [entry for entry in log if "seconds" in entry]
    if not timed:
        return None
    scored = [entry for entry in log if "score" in entry and path.stem == "best"]
    record: dict[str, Any] = {name: facts.get(name) for name in ("device", "machine", "commit", "date")}
    return Training(
        steps=int(checkpoint[1] if checkpoint else timed[-1]["step"]),
        seconds=float(timed[-1]["seconds"]),
        chosen_step=max(scored, key=lambda entry: entry["score"])["step"] if scored else None,
        **record,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _parsed(text: str) -> dict[str, Any]:
    """A JSON object; an empty one where the text is something else, as a line that was cut short is."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
