"""One frame of one view as a function of tensors: encode, read, decode, encode the template, write.

Nothing here depends on the frame's number other than through a tensor, so that ``torch.compile`` makes one
program of a whole step and runs it at every frame with the same number of objects.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.memory import Rules, SlotMemory, Template, surely_visible
from stremn.models import Segmenter
from stremn.models.segmenter import ImageFeatures

__all__ = ["Outcome", "Rules", "State", "advance", "compiled_advance", "look", "remember", "with_given"]


@dataclass(frozen=True)
class State:
    """What one frame leaves to the next.

    Attributes:
        memory: of ``O`` objects.
        previous: their probabilities ``(O, 1, h/4, w/4)`` float32.
    """

    memory: SlotMemory
    previous: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a step makes of a frame.

    Attributes:
        logits: of the objects known before ``(O, 1, h/4, w/4)`` float32; ``None`` if there were none.
        state: for the next frame, given objects included, after those known before.
    """

    logits: Tensor | None
    state: State


def advance(
    model: Segmenter,
    frame: Tensor | ImageFeatures,
    frame_index: Tensor,
    state: State | None,
    rules: Rules,
    *,
    candidate: bool = True,
    given: Tensor | None = None,
) -> Outcome:
    """Take one frame.

    Args:
        model: the network, in evaluation mode.
        frame: ``(1, 3, h, w)`` RGB in [0, 1], sides divisible by the model's stride; or what the model's
            ``encode_image`` made of it.
        frame_index: position in the video ``()`` int64.
        state: of the frame before, its memory may be written in place; ``None`` before any object was given.
        rules: of the video.
        candidate: whether the template of the frame before competes for a chosen slot.
        given: masks of new objects ``(O', 1, H, W)`` in [0, 1], at any resolution. What they cover is taken
            from the other objects.

    Raises:
        ValueError: if there are neither known nor new objects.
    """
    features = frame if isinstance(frame, ImageFeatures) else model.encode_image(frame)
    logits = probabilities = None
    if state is not None:
        logits = look(model, features, state)
        probabilities = model.aggregate(logits, _owner(logits), 1)
    if given is not None:
        probabilities = with_given(probabilities, given, features.maps[0].shape[-2:])
    if probabilities is None:
        raise ValueError("a step needs an object, known or given")
    return Outcome(logits, remember(model, features, probabilities, frame_index, state, rules, candidate))


def look(model: Segmenter, features: ImageFeatures, state: State) -> Tensor:
    """Read the memory and decode: logits of the known objects ``(O, 1, h/4, w/4)`` float32."""
    owner = _owner(state.previous)
    readout = model.read(features, state.memory, owner)
    return model.decode(features, readout, owner, state.previous).float()


def remember(
    model: Segmenter,
    features: ImageFeatures,
    probabilities: Tensor,
    frame_index: Tensor,
    state: State | None,
    rules: Rules,
    candidate: bool,
) -> State:
    """Encode the template of a frame and write it.

    Args:
        model: the network.
        features: of the frame.
        probabilities: of the objects of ``state`` and, after them, of new ones ``(O, 1, h/4, w/4)``.
        frame_index: position in the video ``()`` int64.
        state: of the frame before; ``None`` if all objects are new.
        rules: of the video.
        candidate: whether the template of the frame before competes for a chosen slot.
    """
    template = model.encode_template(features, probabilities, _owner(probabilities))
    return State(_write(state, template, probabilities, frame_index, rules, candidate), probabilities)


def with_given(probabilities: Tensor | None, given: Tensor, size: torch.Size) -> Tensor:
    """Probabilities of known objects and, after them, the given masks, both at (h, w) = ``size``."""
    new = F.adaptive_avg_pool2d(given, (size[0], size[1]))
    if probabilities is None:
        return new
    return torch.cat([probabilities * (1 - new.sum(dim=0, keepdim=True).clamp(0, 1)), new])


def compiled_advance(rules: Rules, backend: str) -> Callable[..., Outcome]:
    """:func:`advance` as one program for each number of objects, by ``torch.compile(fullgraph=True)``.

    Args:
        rules: of the videos it is for.
        backend: of ``torch.compile``.

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
def _compiled(backend: str) -> Callable[..., Outcome]:
    """One for all sessions, so that the next video needs no compilation."""
    # The default limit is eight programs, which a video with objects that come and go may need more of.
    known = inspect.signature(torch.compile).parameters
    limit: Any = {"recompile_limit": 256} if "recompile_limit" in known else {}
    return torch.compile(advance, fullgraph=True, dynamic=False, backend=backend, **limit)


def _owner(objects: Tensor) -> Tensor:
    """All objects are of the one frame."""
    return torch.zeros(objects.shape[0], dtype=torch.long, device=objects.device)


def _write(
    state: State | None,
    template: Template,
    probabilities: Tensor,
    frame_index: Tensor,
    rules: Rules,
    candidate: bool,
) -> SlotMemory:
    """Update the memory of the known objects and append one for each new object."""
    known = 0 if state is None else state.previous.shape[0]
    memory = None
    if state is not None:
        memory = state.memory.update(
            template.of_objects(slice(known)),
            frame_index,
            rules.policy,
            candidate=candidate,
            present=surely_visible(probabilities[:known], rules.certainty) if rules.certainty else None,
            noise=rules.noise,
            generator=rules.generator,
        )
        if template.key.shape[0] == known:
            return memory
    new = template.of_objects(slice(known, None))
    fresh = SlotMemory.of_first_frame(new, frame_index, rules.layout)
    return fresh if memory is None else memory.append_objects(fresh)
