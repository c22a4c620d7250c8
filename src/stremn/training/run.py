"""The folder of a run: its record, and checkpoints that are either complete or not there."""

import errno
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.optim import Optimizer

from stremn.errors import StremnError, one_line
from stremn.files.outputs import make_folder, write_error, write_json, write_png, write_text, writing
from stremn.files.tensors import write_tensors
from stremn.provenance import provenance, versions
from stremn.training.plan import optimizer_state, restore_optimizer
from stremn.training.recipe import Recipe, read_values

__all__ = [
    "AVERAGED",
    "RAW",
    "Checkpoints",
    "RunFolder",
    "RunState",
    "describe_run",
    "load_optimizer",
    "load_state",
    "save_state",
]

log = logging.getLogger("stremn")

RECIPE, RUN, DATA, LOG, CHECKPOINTS = "recipe.yaml", "run.json", "data.json", "log.jsonl", "checkpoints"
BEST, MEAN_OF_BEST, BEST_FOLDER = "best.safetensors", "average.safetensors", "best"
RAW, AVERAGED = "raw.safetensors", "model.safetensors"
OPTIMIZER, STATE = "optimizer.safetensors", "state.json"
VERSION = 1
PACKAGES = ("torchvision", "accelerate", "timm", "opencv-python-headless", "safetensors")


@dataclass
class RunState:
    """Where a run stands. Its step is also the position of the sampler and of the schedule.

    Attributes:
        step: optimiser steps done.
        processes: how many processes train together.
        seconds: time trained so far.
        loss_sum: sum of the losses since the last line of the log.
        loss_count: how many losses these are.
        best_score: the best score of the validations so far.
        best_step: the step at which it was reached.
        best_weights: scores of the weights that are averaged, by the names of their files.
        scaler: state of the scaling of the loss in half precision; empty in other precisions.
    """

    step: int = 0
    processes: int = 1
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    best_score: float | None = None
    best_step: int | None = None
    best_weights: dict[str, float] = field(default_factory=dict)
    scaler: dict[str, float] = field(default_factory=dict)

    def check(self, name: str) -> None:
        """Refuse values that no run has.

        Args:
            name: name of the folder that it was read from, which tells the step too.

        Raises:
            ValueError: naming the entries.
        """
        whole = (self.step, self.processes, self.loss_count, 0 if self.best_step is None else self.best_step)
        if any(type(value) is not int or value < 0 for value in whole):
            raise ValueError(f"step, processes, loss_count or best_step of {whole!r:.60}")
        real = (
            self.seconds,
            self.loss_sum,
            0 if self.best_score is None else self.best_score,
            *self.best_weights.values(),
            *self.scaler.values(),
        )
        if any(type(value) not in (int, float) or not math.isfinite(value) for value in real):
            raise ValueError(f"seconds, loss_sum, best_score, best_weights or scaler of {real!r:.60}")
        if not all(re.fullmatch(r"step-\d+\.safetensors", weights) for weights in self.best_weights):
            raise ValueError("best_weights names other files")
        if re.fullmatch(r"step-\d+", name) and self.step != int(name.removeprefix("step-")):
            raise ValueError(f"step is {self.step}")


def save_state(folder: Path, state: RunState, optimizer: Optimizer) -> None:
    """Write everything of a checkpoint but the weights."""
    moments = optimizer_state(optimizer)
    write_tensors(folder / OPTIMIZER, moments, "stremn_optimizer", "Adam's moments by parameter")
    write_json(folder / STATE, {"version": VERSION, **asdict(state)})


def load_state(folder: Path) -> RunState:
    """Read the state of a checkpoint.

    Raises:
        StremnError: if it cannot be read, or is of another step than its folder.
    """
    try:
        facts = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if facts.pop("version") != VERSION:
            raise StremnError(f"{folder}: written by another version of stremn; resume it with that one")
        # The first version also kept the rates, which the recipe says.
        facts.pop("optimizer", None)
        state = RunState(**facts)
        state.check(folder.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(folder / STATE, error) from error
    return state


def load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    """Put the state of a checkpoint's optimiser into one of the same parameters.

    Raises:
        StremnError: if it cannot be read or is of other parameters.
    """
    try:
        restore_optimizer(optimizer, load_file(folder / OPTIMIZER))
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(folder / OPTIMIZER, error) from error


def _damaged(path: Path, error: Exception) -> StremnError:
    return StremnError(
        f"{path}: not a usable checkpoint ({one_line(error)}); "
        "remove that folder to resume from the one before"
    )


class Checkpoints:
    """The checkpoints in one folder, named by their step.

    Args:
        folder: where they lie; made when the first is written.
        keep: how many of the latest stay.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def all(self) -> list[Path]:
        """List the complete checkpoints, the newest last."""
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
        """Hide it first: half a checkpoint must never be taken for a whole one."""
        hidden = folder.with_name(f".{folder.name}.old")
        os.replace(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Write it through, so that the rename cannot outlive the content when the machine goes down."""
    with suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class RunFolder:
    """Recipe, facts, log, TensorBoard files, pictures and checkpoints of one run.

    Args:
        out: the folder, which is made by :meth:`begin`.
        recipe: what is run.
    """

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.out, self.recipe = out, recipe
        self.checkpoints = Checkpoints(out / CHECKPOINTS, recipe.keep)
        self._board: Any = None

    def check(self, resume: bool) -> None:
        """Refuse a folder that cannot be written to or that holds another run; nothing is written yet.

        Raises:
            StremnError: naming the key that differs, if a run is resumed with a changed recipe.
        """
        home = next(path for path in (self.out, *self.out.absolute().parents) if path.exists())
        if not home.is_dir():
            raise StremnError(f"output {home} is a file: give a folder")
        if not os.access(home, os.W_OK | os.X_OK):
            raise write_error(self.out, PermissionError(errno.EACCES, "may not be written to"))
        trained = [name for name in (AVERAGED, CHECKPOINTS) if (self.out / name).exists()]
        if not (self.out / RECIPE).exists():
            written = (RUN, DATA, LOG, BEST, MEAN_OF_BEST, BEST_FOLDER)
            there = [name for name in written if (self.out / name).exists()]
            if there and not any("from_step" in run for run in self._earlier_runs()):
                raise StremnError(f"{self.out} holds {there[0]}, which no run wrote: give another folder")
            if trained:
                raise StremnError(
                    f"{self.out} holds {trained[0]} of a run without {RECIPE}: give another folder"
                )
            return
        if not resume:
            raise StremnError(f"{self.out} holds a run: resume it, or give another folder")
        if not trained:
            return
        before = type(self.recipe).from_dict(read_values(self.out / RECIPE), self.out / RECIPE).to_dict()
        bounds = self.recipe.bounds()
        for key, value in self.recipe.to_dict().items():
            if value != before[key] and not (key in bounds and bounds[key]["while_running"]):
                raise StremnError(
                    f"{self.out} was begun with {key}: {before[key]}, not {value}; resume it with its own "
                    f"recipe, {self.out / RECIPE}, or give another folder"
                )

    def begin(self, step: int, facts: dict[str, Any], data: dict[str, Any]) -> None:
        """Write what is known at the start, and drop the log of steps that will be done again.

        Raises:
            StremnError: if a run goes on with other data than it was begun with, or the disk does not let it.
        """
        import yaml

        with suppress(OSError, ValueError):
            before = json.loads((self.out / DATA).read_text(encoding="utf-8"))
            if step and before != json.loads(json.dumps(data)):
                raise StremnError(
                    f"{self.out} was begun with other data, see {self.out / DATA}: bring it back, or give "
                    "another folder"
                )
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.checkpoints.clean()
            runs = self._earlier_runs()
            write_json(self.out / RUN, {**facts, "from_step": step, "before": runs})
            write_json(self.out / DATA, data)
            self._cut_log(step)
            # Last: from here on the folder counts as a run.
            recipe = yaml.safe_dump(self.recipe.to_dict(), sort_keys=False, allow_unicode=True)
            write_text(self.out / RECIPE, recipe)
        except OSError as error:
            raise write_error(self.out, error) from error
        self._board = _open_board(self.out / "tensorboard", step)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to the log, and its numbers to the TensorBoard file under ``record["step"]``."""
        with writing(self.out / LOG), (self.out / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            kind = "train" if "loss" in record else "validation"
            for name, value in record.items():
                if name not in ("step", "seconds"):
                    self._board.add_scalar(f"{kind}/{name}", value, record["step"])
            self._board.flush()

    def show(self, picture: np.ndarray, step: int) -> None:
        """Keep a picture ``(H, W, 3)`` uint8."""
        path = self.out / "pictures" / f"step-{step:06d}.png"
        make_folder(path.parent)
        write_png(path, Image.fromarray(picture))
        if self._board is not None:
            self._board.add_image("validation", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._board is not None:
            self._board.close()

    def _earlier_runs(self) -> list[dict[str, Any]]:
        try:
            last = json.loads((self.out / RUN).read_text(encoding="utf-8"), parse_constant=str)
            return [*last.pop("before", []), last]
        except (OSError, ValueError, AttributeError, TypeError):
            return []

    def _cut_log(self, step: int) -> None:
        path = self.out / LOG
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            write_text(path, "".join(f"{line}\n" for line in kept))


def describe_run(recipe: Recipe, device: str, processes: int) -> dict[str, Any]:
    """Describe seed, versions, commit and machine as JSON."""
    known = versions()
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            known[package] = version(package)
    facts = {"seed": recipe.seed, "versions": known, "device": device, "processes": processes}
    return facts | provenance()


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("no TensorBoard files are written: pip install 'stremn[train]'")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def _step_of(line: str) -> float:
    """Read the step of a line of the log; a line cut short counts as one to drop."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
