"""Checkpoints of a run: folders that are either complete or not there."""

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from stremn.errors import StremnError
from stremn.files.atomic import write_error, write_json
from stremn.files.tensors import one_line, write_tensors
from stremn.training.plan import optimizer_state, restore_optimizer

__all__ = ["AVERAGED", "RAW", "Checkpoints", "RunState", "load_optimizer", "load_state", "save_state"]

RAW, AVERAGED, OPTIMIZER, STATE = (
    "raw.safetensors",
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
)
VERSION = 1


@dataclass
class RunState:
    """Where a run stands. Its step is also the position of the sampler and of the schedule.

    Attributes:
        step: optimiser steps done.
        processes: that train together.
        seconds: trained so far.
        loss_sum: of the steps since the last line of the log.
        loss_count: how many these are.
        best_score: of the validations so far.
        best_step: at which it was reached.
        best_weights: scores of the weights that are averaged, by the names of their files.
    """

    step: int = 0
    processes: int = 1
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_score: float | None = None
    best_step: int | None = None
    best_weights: dict[str, float] = field(default_factory=dict)


def save_state(folder: Path, state: RunState, optimizer: Optimizer) -> None:
    """Write everything of a checkpoint but the weights."""
    tensors, groups = optimizer_state(optimizer)
    write_tensors(folder / OPTIMIZER, tensors, "stremn_optimizer", "Adam's moments by parameter")
    write_json(folder / STATE, {"version": VERSION, **asdict(state), "optimizer": groups})


def load_state(folder: Path) -> RunState:
    """The state of a checkpoint.

    Raises:
        StremnError: if it cannot be read.
    """
    facts = _read_facts(folder)
    try:
        if facts.pop("version") != VERSION:
            raise StremnError(f"{folder}: written by another version of stremn; resume it with that one")
        del facts["optimizer"]
        return RunState(**facts)
    except (KeyError, TypeError) as error:
        raise _damaged(folder / STATE, error) from error


def load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    """Put the state of a checkpoint's optimiser into one of the same parameters.

    Raises:
        StremnError: if it cannot be read or is of other parameters.
    """
    try:
        tensors: dict[str, Tensor] = load_file(folder / OPTIMIZER)
        restore_optimizer(optimizer, tensors, _read_facts(folder)["optimizer"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / OPTIMIZER, error) from error


class Checkpoints:
    """The checkpoints in one folder, named by their step.

    Args:
        folder: made when the first is written.
        keep: how many of the latest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        """See the class."""
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """Complete checkpoints, the newest last."""
        if not self.folder.is_dir():
            return []
        found = (path for path in self.folder.iterdir() if re.fullmatch(r"step-\d+", path.name))
        return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))

    def write(self, step: int, fill: Callable[[Path], None]) -> Path:
        """Make a checkpoint: ``fill`` writes into a hidden folder, which is then renamed.

        Raises:
            StremnError: if it cannot be written.
        """
        final = self.folder / f"step-{step:06d}"
        part = self.folder / f".{final.name}.part"
        try:
            self.clean()
            part.mkdir(parents=True)
            fill(part)
            for path in (*part.iterdir(), part):
                _to_disk(path)
            if final.exists():
                self._remove(final)
            os.replace(part, final)
            _to_disk(self.folder)
            for old in self.all()[: -self.keep]:
                self._remove(old)
        except OSError as error:
            raise write_error(final, error) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return final

    def clean(self) -> None:
        """Remove what an earlier process left unfinished."""
        for path in self.folder.glob(".step-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Hidden first: half a checkpoint must never be taken for a whole one."""
        hidden = folder.with_name(f".{folder.name}.old")
        os.replace(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder / STATE, error) from error
    if not isinstance(facts, dict):
        raise _damaged(folder / STATE, ValueError("not an object"))
    return facts


def _damaged(path: Path, error: Exception) -> StremnError:
    return StremnError(
        f"{path}: not a usable checkpoint ({one_line(error)}); "
        "remove that folder to resume from the one before"
    )


def _to_disk(path: Path) -> None:
    """So that the rename cannot outlive the content when the machine goes down."""
    with suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
