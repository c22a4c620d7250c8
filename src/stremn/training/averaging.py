"""One model of several checkpoints of a run: the mean of their weights (P4, Sec. 4.2)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from stremn.errors import StremnError
from stremn.models import from_pretrained

__all__ = ["average_models"]


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
