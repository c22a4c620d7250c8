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
    """The run that made some weights.

    Attributes:
        text: what is printed, where it was given by hand; else empty.
        steps: optimiser steps.
        seconds: of the steps and validations.
        chosen_step: of the best weights, where the file is those; ``None`` for the last ones.
        device: where it ran.
        machine: what it ran on.
        commit: of the source.
        started: date and time.
    """

    text: str = ""
    steps: int | None = None
    seconds: float | None = None
    chosen_step: int | None = None
    device: str | None = None
    machine: str | None = None
    commit: str | None = None
    started: str | None = None

    def __str__(self) -> str:
        """For a column of a table, as ``10000 steps, 2.1 h``."""
        if self.text or self.steps is None:
            return self.text
        chosen = "" if self.chosen_step in (None, self.steps) else f" (best at {self.chosen_step})"
        return f"{self.steps} steps{chosen}, {_duration(self.seconds or 0)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def read_training(weights: Path | str) -> Training | None:
    """The run in whose folder a weights file lies; ``None`` if it lies in none, or is a name.

    Args:
        weights: file, or folder of a checkpoint.
    """
    path = Path(weights)
    if not path.exists():
        return None
    run = next((p for p in path.parents[:3] if (p / "run.json").is_file()), None)
    run = path if (path / "run.json").is_file() else run
    if run is None:
        return None
    facts, log = _json(run / "run.json"), _log(run / "log.jsonl")
    match = _CHECKPOINT.search(path.relative_to(run).as_posix())
    if match:
        log = [record for record in log if record["step"] <= int(match[1])]
    timed = [record for record in log if "seconds" in record]
    if not timed:
        return None
    return Training(
        steps=int(match[1]) if match else int(timed[-1]["step"]),
        seconds=float(timed[-1]["seconds"]),
        chosen_step=_best(log) if path.stem == "best" else None,
        device=facts.get("device"),
        machine=facts.get("machine"),
        commit=facts.get("commit"),
        started=facts.get("started"),
    )


def _best(log: list[dict[str, Any]]) -> int | None:
    scored = [record for record in log if "score" in record]
    return int(max(scored, key=lambda record: record["score"])["step"]) if scored else None


def _log(path: Path) -> list[dict[str, Any]]:
    """Records by step; a line cut short is passed over."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
            record["step"] = int(record["step"])
        except (ValueError, KeyError, TypeError):
            continue
        records.append(record)
    return records


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
