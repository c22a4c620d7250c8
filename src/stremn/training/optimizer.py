"""The optimiser, and its state as plain tensors."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from stremn.training.recipe import Recipe

__all__ = ["create_optimizer", "optimizer_state", "restore_optimizer", "set_rates"]

_CLASSES = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
BASE_RATE = "base_rate"


def create_optimizer(groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
    """The optimiser of a recipe; each group keeps its ``lr`` as ``base_rate`` too."""
    groups = [{**group, BASE_RATE: group["lr"]} for group in groups]
    return _CLASSES[recipe.optimizer](groups, weight_decay=recipe.weight_decay)


def set_rates(optimizer: Optimizer, share: float) -> None:
    """Let every group learn at a share of its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = share * group[BASE_RATE]


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Tensors by ``parameter.name``, and the groups as JSON values."""
    state = optimizer.state_dict()
    tensors = {f"{i}.{name}": t for i, entries in state["state"].items() for name, t in entries.items()}
    return tensors, state["param_groups"]


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
    """The inverse of :func:`optimizer_state`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, entry = name.partition(".")
        state.setdefault(int(number), {})[entry] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, entries in optimizer.state.items():
        for entry, tensor in entries.items():
            if tensor.shape == parameter.shape:
                # With the strides of the weights, as in an uninterrupted run: kernels may depend on them.
                entries[entry] = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
