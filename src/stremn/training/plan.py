"""What each step does: a function of the seed, the step and the process, so that runs can be resumed."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.data import Sampler

from stremn.data import ClipRequest
from stremn.training.recipe import Recipe
from stremn.training.task import StepDraw

__all__ = [
    "StepSampler",
    "create_optimizer",
    "draw_of_step",
    "ema_decay",
    "optimizer_state",
    "rate_share",
    "restore_optimizer",
    "seed_step",
    "set_rates",
    "tensors_of",
    "to_device",
]


class StepSampler(Sampler[list[ClipRequest]]):
    """Draws the batches of one process, from step ``start`` on.

    With the same number of clips in a step, any split of them into processes and accumulated parts trains on
    the same clips.

    Args:
        shapes: (batch, frames, size); each step draws one, the same in all processes.
        steps: number of steps of the whole run.
        seed: seed of the draw.
        start: steps already done.
        accumulate: number of batches in one step.
        process: which of the processes this is.
        processes: how many there are.
    """

    def __init__(
        self,
        shapes: list[tuple[int, int, int]],
        steps: int,
        seed: int,
        *,
        start: int = 0,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.shapes, self.steps, self.seed, self.start = shapes, steps, seed, start
        self.accumulate, self.process, self.processes = accumulate, process, processes

    def __len__(self) -> int:
        """Count the batches that are left."""
        return (self.steps - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[ClipRequest]]:
        """Yield the batches that are left, ``accumulate`` for each step."""
        most = max(batch for batch, _, _ in self.shapes)
        for step in range(self.start, self.steps):
            draw = np.random.default_rng([self.seed, 3, step])
            batch, frames, size = self.shapes[int(draw.integers(len(self.shapes)))]
            for part in range(self.accumulate):
                number = (step * self.accumulate + part) * self.processes + self.process
                yield [ClipRequest(number * most + i, frames, size) for i in range(batch)]


def draw_of_step(seed: int, step: int, part: int, process: int, device: torch.device) -> StepDraw:
    """Make the generators of one part of one step."""
    shared = torch.Generator().manual_seed(_mixed(seed, 4, step))
    own = torch.Generator(device).manual_seed(_mixed(seed, 5, step, part, process))
    return StepDraw(step, shared, own)


def seed_step(seed: int, step: int, process: int) -> None:
    """Set the global generators too, for layers that draw from them (dropout)."""
    number = _mixed(seed, 6, step, process)
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def rate_share(step: int, recipe: Recipe) -> float:
    """Compute the share of the learning rates at a step: linear warm-up, then a cosine to ``final_rate``."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_rate + (1 - recipe.final_rate) * (1 + math.cos(math.pi * min(1.0, done))) / 2


def ema_decay(step: int, recipe: Recipe) -> float:
    """Compute the decay of the average; a young one must not remember the first weights."""
    return min(recipe.ema, (1 + step) / (10 + step))


def _mixed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


_CLASSES = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
BASE_RATE = "base_rate"


def create_optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    """Make the optimiser of a recipe; each group keeps its ``lr`` as ``base_rate`` too."""
    groups = [{**group, BASE_RATE: group["lr"]} for group in groups]
    return _CLASSES[recipe.optimizer](groups, weight_decay=recipe.weight_decay)


def set_rates(optimizer: Optimizer, share: float) -> None:
    """Let every group learn at a share of its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = share * group[BASE_RATE]


def optimizer_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """Give the moments by ``parameter.name``; the rates are those of the recipe and the step."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": tensor for i, entries in state.items() for name, tensor in entries.items()}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_state` gave.

    Raises:
        ValueError: if these are not the moments of the same parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, entry = name.partition(".")
        state.setdefault(int(number), {})[entry] = tensor.clone()
    for index, entries in state.items():
        known = index in range(len(parameters))
        shape = parameters[index].shape if known else torch.Size()
        expected = {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
        if not known or {name: tensor.shape for name, tensor in entries.items()} != expected:
            raise ValueError(f"moments of other parameters at {index}")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, entries in optimizer.state.items():
        for entry, tensor in entries.items():
            if tensor.shape == parameter.shape:
                # With the strides of the weights, as in an uninterrupted run: kernels may depend on them.
                entries[entry] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def tensors_of(batch: Any) -> dict[str, Tensor]:
    """List the tensors of a batch by name."""
    items = batch if isinstance(batch, Mapping) else {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: value for name, value in items.items() if isinstance(value, Tensor)}


def to_device(batch: Any, device: torch.device) -> Any:
    """Put the tensors of a batch on a device."""
    moved = {name: tensor.to(device) for name, tensor in tensors_of(batch).items()}
    return {**batch, **moved} if isinstance(batch, Mapping) else replace(batch, **moved)
