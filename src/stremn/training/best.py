"""One model of several checkpoints of a run: the mean of their weights (P4, Sec. 4.2)."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stremn.errors import StremnError
from stremn.files.atomic import write_error
from stremn.models import from_pretrained
from stremn.training.checkpoints import RunState, load_state
from stremn.training.task import Task

__all__ = ["BEST", "MEAN_OF_BEST", "BestWeights", "average_models"]


def average_models(paths: Sequence[Path | str], load: Callable[[Any], Any] = from_pretrained) -> Any:
    """A model whose weights are the means of those in the files, in float32 on the CPU.

    The paper averages time steps of high SSIM; choose them by validation, never by the test.

    Args:
        paths: of files that :func:`stremn.save_pretrained` wrote, at least one.
        load: reads a file, if it was written by something else.

    Returns:
        A :class:`~stremn.models.Segmenter` or a :class:`~stremn.models.Predictor`.

    Raises:
        StremnError: if there is none, or one cannot be read or is of another config.
    """
    if not paths:
        raise StremnError("there are no weights to average: give at least one file")
    model = load(paths[0])
    total = {name: tensor.double() for name, tensor in model.state_dict().items()}
    for path in paths[1:]:
        other = load(path)
        if getattr(other, "config", None) != getattr(model, "config", None):
            raise StremnError(f"{path}: of another config than {paths[0]}; average checkpoints of one run")
        for name, tensor in other.state_dict().items():
            total[name] += tensor
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            mean = total[name] / len(paths)
            tensor.copy_(mean if tensor.is_floating_point() else mean.round())
    return model


BEST, MEAN_OF_BEST = "best.safetensors", "average.safetensors"
"""Files of a run's folder."""

FOLDER = "best"


class BestWeights:
    """What a run keeps of its validated weights. Which these are is part of the state of the run.

    Args:
        out: folder of the run.
        count: how many weights are averaged; 0 averages none, and then only the best are kept.
        task: writes and reads them.
    """

    def __init__(self, out: Path, count: int, task: Task) -> None:
        """Nothing is written yet."""
        self.out, self.count, self.task = out, count, task
        self.folder = out / FOLDER

    def offer(self, model: nn.Module, step: int, score: float, state: RunState) -> None:
        """Write validated weights if they are among the best, and then the mean anew.

        Args:
            model: as validated.
            step: after which it was.
            score: its score; of equal ones the earlier stays. What is no number is never among the best.
            state: of the run; its ``best_*`` entries are brought up to date.

        Raises:
            StremnError: if a file cannot be written, or one that is to be averaged cannot be read.
        """
        if not math.isfinite(score):
            return
        if state.best_score is None or score > state.best_score:
            state.best_score, state.best_step = score, step
            self.task.save_model(model, self.out / BEST)
        name = f"step-{step:06d}.safetensors"
        chosen = self._chosen(state.best_weights | {name: score})
        if name in chosen:
            try:
                self.folder.mkdir(exist_ok=True)
            except OSError as error:
                raise write_error(self.folder, error) from error
            self.task.save_model(model, self.folder / name)
            state.best_weights = chosen
            self.write_mean(state)

    def write_mean(self, state: RunState) -> nn.Module | None:
        """Write the mean of the best weights, the same bits each time.

        Returns:
            The mean, on the CPU; ``None`` if there is nothing to average.

        Raises:
            StremnError: see :meth:`offer`.
        """
        paths = [self.folder / name for name in sorted(self._chosen(state.best_weights))]
        if not paths:
            return None
        # Building a model draws random numbers, which are not to be missed elsewhere.
        with torch.random.fork_rng(devices=[]):
            mean: nn.Module = average_models(paths, self.task.load_model)
        self.task.save_model(mean, self.out / MEAN_OF_BEST)
        return mean

    def clean(self, checkpoints: Iterable[Path], state: RunState) -> None:
        """Remove weights that neither the run nor any of its checkpoints, to which it may go back, counts."""
        needed = set(state.best_weights)
        for checkpoint in checkpoints:
            # One that is damaged cannot be gone back to.
            with suppress(StremnError):
                needed |= set(load_state(checkpoint).best_weights)
        for path in self.folder.glob("*step-*.safetensors*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)

    def _chosen(self, scores: dict[str, float]) -> dict[str, float]:
        """The best of them, the best first."""
        best = sorted(scores, key=lambda name: (-scores[name], name))[: self.count]
        return {name: scores[name] for name in best}
