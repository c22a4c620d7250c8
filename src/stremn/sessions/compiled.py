"""A whole step of a segmentation session as one program, by ``torch.compile``.

Nothing in a step depends on the frame's number other than through a tensor, so that one program serves every
frame with the same number of objects.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import Rules
from stremn.models import ImageFeatures, SegmentationState, Segmenter

__all__ = ["compiled_step"]


def compiled_step(rules: Rules, backend: str) -> Callable[..., Any]:
    """Encode a frame and :meth:`~stremn.models.Segmenter.observe` it as one program, fullgraph.

    Args:
        rules: of the videos it is for.
        backend: of ``torch.compile``.

    Returns:
        A function of the model, the frame ``(1, 3, h, w)``, states, rules, frame index and whether the frame
        before is a candidate, that returns the features by view and what ``observe`` does.

    Raises:
        StremnError: if the rules need what no compiled program can do.
    """
    if not rules.policy.bounded:
        raise StremnError(f"policy '{rules.policy.name}' cannot be compiled: its memory changes shape")
    if rules.policy.draws or rules.noise:
        raise StremnError(
            f"policy '{rules.policy.name}' cannot be compiled where it draws random numbers from a seed"
        )
    if backend not in torch.compiler.list_backends(exclude_tags=()):
        raise StremnError(f"torch.compile has no backend '{backend}' here")
    return _compiled(backend)


@functools.cache
def _compiled(backend: str) -> Callable[..., Any]:
    """One for all sessions, so that the next video needs no compilation."""
    # The default limit is eight programs, which a video with objects that come and go may need more of.
    known = inspect.signature(torch.compile).parameters
    limit: Any = {"recompile_limit": 256} if "recompile_limit" in known else {}
    return torch.compile(_step, fullgraph=True, dynamic=False, backend=backend, **limit)


def _step(
    model: Segmenter,
    frame: Tensor,
    states: tuple[SegmentationState, ...],
    rules: Rules,
    frame_index: Tensor,
    candidate: bool,
) -> tuple[tuple[ImageFeatures], tuple[Tensor, ...], tuple[SegmentationState, ...]]:
    features = (model.encode_image(frame),)
    return features, *model.observe(features, states, rules, frame_index, candidate=candidate)
