"""The process that trains, alone or among others, and how exactly it computes."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from stremn.data import ClipRequest
from stremn.errors import StremnError, one_line
from stremn.training.plan import StepSampler
from stremn.training.recipe import Recipe

__all__ = ["batches_of", "lost_workers", "open_accelerator", "repeatable"]

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: validation runs in one of them."""


def open_accelerator(recipe: Recipe) -> Any:
    """Join the processes that train together; this one is alone where nothing else was started.

    Raises:
        StremnError: if the recipe needs a GPU and there is none.
    """
    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise StremnError("recipe: 'precision' fp16 needs a GPU, which is not there; set bf16 or no")
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
    """Use only algorithms that repeat themselves bit by bit, as far as PyTorch has them."""
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


def batches_of(
    clips: Dataset[Any], collate: Callable[[list[Any]], Any], sampler: StepSampler, workers: int
) -> Iterator[Any]:
    """Make the batches that a sampler asks for in ``workers`` processes, or in this one if there are none.

    Raises:
        StremnError: which a data set raised, wherever it was.
    """
    loader = DataLoader(
        _Batches(clips, collate),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=_in_worker,
        # Its own, or the loader would draw from the global one.
        generator=torch.Generator().manual_seed(sampler.seed),
    )
    for batch in loader:
        if isinstance(batch, StremnError):
            raise batch
        yield batch


@contextmanager
def lost_workers() -> Iterator[None]:
    """Turn the end of a worker, which may show at any point of the code, into an error for the user."""
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        raise StremnError(
            f"a process that makes clips ended ({one_line(error)}); set fewer 'workers'"
        ) from error


class _Batches(Dataset[Any]):
    """Gives errors as batches: raised in a worker, they would arrive with its traceback in their message."""

    def __init__(self, clips: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.clips, self.collate = clips, collate

    def __getitem__(self, requests: list[ClipRequest]) -> Any:
        try:
            return self.collate([self.clips[request] for request in requests])
        except StremnError as error:
            return error


def _in_worker(_: int) -> None:
    """Use one thread, and ignore Ctrl-C, which the main process answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
