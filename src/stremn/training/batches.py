"""Batches of any task: dataclasses or dictionaries of tensors."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["tensors_of", "to_device"]


def tensors_of(batch: Any) -> dict[str, Tensor]:
    """The tensors of a batch by name."""
    items = batch if isinstance(batch, Mapping) else {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: value for name, value in items.items() if isinstance(value, Tensor)}


def to_device(batch: Any, device: torch.device) -> Any:
    """The same batch with its tensors on a device."""
    moved = {name: tensor.to(device) for name, tensor in tensors_of(batch).items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **moved)
    return {**batch, **moved}
