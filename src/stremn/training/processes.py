"""The process that trains, alone or among others, and how exactly it computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch

from stremn.training.recipe import Recipe

__all__ = ["open_accelerator", "repeatable"]

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: validation runs in one of them."""


def open_accelerator(recipe: Recipe) -> Any:
    """This process among those that train together; one where nothing else was started."""
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    # Precision is kept by the process; the recipe before may have had another one.
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=recipe.precision,
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[
            # Which weights take part depends on the clip: no guidance, no contest for a slot.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


@contextmanager
def repeatable(on: bool) -> Iterator[None]:
    """Only algorithms that repeat themselves bit by bit, as far as PyTorch has them."""
    cudnn, options = torch.backends.cudnn, cast(Any, torch.utils.deterministic)
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    filled = options.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if on:
        torch.use_deterministic_algorithms(True, warn_only=True)
        cudnn.deterministic, cudnn.benchmark = True, False
        options.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
        options.fill_uninitialized_memory = filled
