"""One model of several weights: their mean (P4, Sec. 4.2)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stremn.errors import StremnError
from stremn.files.outputs import make_folder
from stremn.models import from_pretrained, reconfigured
from stremn.training.run import BEST, BEST_FOLDER, MEAN_OF_BEST, RunState, load_state
from stremn.training.task import Task

__all__ = ["BEST", "MEAN_OF_BEST", "BestWeights", "average_models"]


def average_models(
    sources: Sequence[Path | str],
    *,
    share: float | None = None,
    changes: Mapping[str, Any] | None = None,
    load: Callable[[Any], Any] = from_pretrained,
) -> Any:
    """Make a model whose weights are means of those of others, in float32 on the CPU.

    The paper averages time steps of high SSIM; choose them by validation, never by the test.

    Args:
        sources: what ``load`` takes, at least one; by default names, files and run folders.
        share: share of the first, from 0 to 1, where the others have equal shares of the rest; ``None``
            gives all of them the same.
        changes: fields of the config to replace, such as ``certainty`` or ``size``; in all else the configs
            must be equal.
        load: reads a source, if it was written by something else.

    Returns:
        A :class:`~stremn.models.Segmenter` or a :class:`~stremn.models.Predictor`.

    Raises:
        StremnError: if there is none, one cannot be read or is of another config, the share is no share, or
            the changes do not fit the weights.
    """
    if not sources:
        raise StremnError("there are no weights to average: give at least one file")
    if share is not None and not (0 <= share <= 1 and len(sources) > 1):
        raise StremnError(f"share {share} of the first: must be from 0 to 1, of two or more weights")
    first = 1 / len(sources) if share is None else share
    rest = (1 - first) / max(1, len(sources) - 1)
    model = reconfigured(load(sources[0]), changes or {}, sources[0])
    total = {name: first * tensor.double() for name, tensor in model.state_dict().items()}
    for source in sources[1:]:
        other = reconfigured(load(source), changes or {}, source)
        differing = _differing(model, other)
        if differing:
            raise StremnError(f"{source}: of another config than {sources[0]} ({differing})")
        for name, tensor in other.state_dict().items():
            total[name] += rest * tensor.double()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(total[name] if tensor.is_floating_point() else total[name].round())
    return model


def _differing(one: Any, other: Any) -> str:
    """Name the fields in which the configs of two models differ, if they have configs."""
    first, second = (asdict(model.config) if hasattr(model, "config") else {} for model in (one, other))
    names = [name for name in first | second if first.get(name) != second.get(name)]
    return ", ".join(f"{name} {second.get(name)!r}, not {first.get(name)!r}" for name in names)


class BestWeights:
    """Keeps the best of a run's validated weights. Which these are is part of the state of the run.

    Args:
        out: folder of the run; nothing is written yet.
        count: how many weights are averaged; 0 averages none, and then only the best are kept.
        task: writes and reads them.
    """

    def __init__(self, out: Path, count: int, task: Task) -> None:
        self.out, self.count, self.task = out, count, task
        self.folder = out / BEST_FOLDER

    def check(self, state: RunState) -> None:
        """Refuse a state whose weights are not all there.

        Raises:
            StremnError: naming a file.
        """
        for name in state.best_weights:
            if not (self.folder / name).is_file():
                raise StremnError(
                    f"{self.folder / name} is missing: bring it back, or begin in another folder"
                )

    def offer(self, model: nn.Module, step: int, score: float, state: RunState) -> None:
        """Write validated weights if they are among the best, and then the mean anew.

        Args:
            model: as validated.
            step: after which it was.
            score: its score; of equal ones the earlier stays. What is no number is never among the best.
            state: state of the run; its ``best_*`` entries are brought up to date.

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
            make_folder(self.folder)
            self.task.save_model(model, self.folder / name)
            state.best_weights = chosen
            self.write_mean(state)

    def write_mean(self, state: RunState) -> nn.Module | None:
        """Write the mean of the best weights, the same bits each time.

        Returns:
            The mean, on the CPU; ``None`` if there is nothing to average.

        Raises:
            StremnError: if a file cannot be written, or one that is averaged cannot be read.
        """
        paths = [self.folder / name for name in sorted(self._chosen(state.best_weights))]
        if not paths:
            return None
        # Building a model draws random numbers, which are not to be missed elsewhere.
        with torch.random.fork_rng(devices=[]):
            mean: nn.Module = average_models(paths, load=self.task.load_model)
        self.task.save_model(mean, self.out / MEAN_OF_BEST)
        return mean

    def clean(self, checkpoints: Iterable[Path], state: RunState) -> None:
        """Remove weights that neither the run nor any of its checkpoints, to which it may go back, counts."""
        needed = set(state.best_weights)
        for checkpoint in checkpoints:
            # One that is damaged cannot be gone back to.
            with suppress(StremnError):
                needed |= set(load_state(checkpoint).best_weights)
        for pattern in ("step-[0-9]*.safetensors", ".step-[0-9]*.part"):
            for path in self.folder.glob(pattern):
                if path.name not in needed:
                    path.unlink(missing_ok=True)

    def _chosen(self, scores: dict[str, float]) -> dict[str, float]:
        """Choose the best of them, the best first."""
        best = sorted(scores, key=lambda name: (-scores[name], name))[: self.count]
        return {name: scores[name] for name in best}
