"""The folder of a run: what is written beside the weights."""

import json
import logging
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import stremn
from stremn.errors import StremnError
from stremn.files.atomic import replacing, write_error, write_json, write_png
from stremn.provenance import commit
from stremn.training.checkpoints import Checkpoints
from stremn.training.recipe import Recipe, read_values

__all__ = ["RunFolder", "describe_run"]

log = logging.getLogger("stremn")

RECIPE, RUN, DATA, LOG = "recipe.yaml", "run.json", "data.json", "log.jsonl"
PACKAGES = ("torchvision", "accelerate", "timm", "numpy", "opencv-python-headless", "safetensors")


class RunFolder:
    """Recipe, facts, log, TensorBoard files and pictures of one run; the checkpoints are in it too.

    Args:
        out: the folder.
        recipe: what is run.
    """

    def __init__(self, out: Path, recipe: Recipe) -> None:
        """Nothing is written yet."""
        self.out, self.recipe = out, recipe
        self.checkpoints = Checkpoints(out / "checkpoints", recipe.keep)
        self._board: Any = None

    def check(self, resume: bool) -> None:
        """Refuse a folder that holds another run.

        Raises:
            StremnError: naming the key that differs, if a run is resumed with a changed recipe.
        """
        if self.out.exists() and not self.out.is_dir():
            raise StremnError(f"output {self.out} is a file: give a folder")
        if not (self.out / RECIPE).exists():
            old = [name for name in ("model.safetensors", LOG, "checkpoints") if (self.out / name).exists()]
            if old:
                raise StremnError(f"{self.out} holds {old[0]} of a run without {RECIPE}: give another --out")
            return
        if not resume:
            raise StremnError(f"{self.out} holds a run: continue it with --resume, or give another --out")
        before = type(self.recipe).from_dict(read_values(self.out / RECIPE), self.out / RECIPE).to_dict()
        for key, value in self.recipe.to_dict().items():
            if value != before[key] and key not in self.recipe.while_running:
                raise StremnError(
                    f"{self.out} was begun with {key}: {before[key]}, not {value}; resume it with its own "
                    f"recipe, {self.out / RECIPE}, or give another --out"
                )

    def begin(self, step: int, facts: dict[str, Any], data: dict[str, Any]) -> None:
        """Write what is known at the start, and drop the log of steps that will be done again."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.checkpoints.clean()
            runs = self._earlier_runs()
            write_json(self.out / RUN, {**facts, "from_step": step, "before": runs})
            write_json(self.out / DATA, data)
            self._cut_log(step)
            # Last: from here on the folder counts as a run.
            self._write_recipe()
        except OSError as error:
            raise write_error(self.out, error) from error
        self._board = _open_board(self.out / "tensorboard", step)

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to the log, and its numbers to the TensorBoard file under ``record["step"]``."""
        try:
            with (self.out / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise write_error(self.out / LOG, error) from error
        if self._board is not None:
            kind = "train" if "loss" in record else "validation"
            for name, value in record.items():
                if name not in ("step", "seconds"):
                    self._board.add_scalar(f"{kind}/{name}", value, record["step"])
            self._board.flush()

    def show(self, picture: np.ndarray, step: int) -> None:
        """Keep a picture ``(H, W, 3)`` uint8."""
        path = self.out / "pictures" / f"step-{step:06d}.png"
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise write_error(path.parent, error) from error
        write_png(path, Image.fromarray(picture))
        if self._board is not None:
            self._board.add_image("validation", picture, step, dataformats="HWC")

    def close(self) -> None:
        """Finish the TensorBoard file."""
        if self._board is not None:
            self._board.close()

    def _write_recipe(self) -> None:
        import yaml

        text = yaml.safe_dump(self.recipe.to_dict(), sort_keys=False, allow_unicode=True)
        with replacing(self.out / RECIPE) as part:
            part.write_text(text, encoding="utf-8")

    def _earlier_runs(self) -> list[dict[str, Any]]:
        try:
            last = json.loads((self.out / RUN).read_text(encoding="utf-8"))
            return [*last.pop("before", []), last]
        except (OSError, ValueError, AttributeError):
            return []

    def _cut_log(self, step: int) -> None:
        path = self.out / LOG
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            with replacing(path) as part:
                part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def describe_run(recipe: Recipe, device: str, processes: int) -> dict[str, Any]:
    """Seed, versions, commit and machine, as JSON."""
    versions = {"stremn": stremn.__version__, "python": platform.python_version()}
    versions["torch"] = str(torch.__version__)
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "seed": recipe.seed,
        "versions": versions,
        "commit": commit(),
        "device": device,
        "processes": processes,
        "machine": platform.platform(),
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("no TensorBoard files are written: pip install 'stremn[train]'")
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def _step_of(line: str) -> float:
    """Step of a line of the log; a line cut short counts as one to drop."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
