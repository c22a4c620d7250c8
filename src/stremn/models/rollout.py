"""Run a prediction model over training clips, by the same verbs and the same memory as a session."""

import torch
from torch import Tensor

from stremn.memory import Rules
from stremn.models import Predictor

__all__ = ["forecast_clip"]


def forecast_clip(
    model: Predictor,
    frames: Tensor,
    observed: int,
    rules: Rules | None = None,
    *,
    truth: Tensor | None = None,
    every: bool = False,
) -> Tensor:
    """The frames that follow the observed ones, each foreseen from the predictions before it.

    Args:
        model: in training mode or not.
        frames: whole clips ``(B, T, C, h, w)`` in [0, 1].
        observed: M, the frames that the model is given, 1 to T - 1.
        rules: of the memory; ``None`` is the model's.
        truth: which clips are given the true frame in place of a prediction ``(T - M - 1, B)`` bool
            (scheduled sampling, Bengio et al. 2015, https://arxiv.org/abs/1506.03099); ``None`` for none.
        every: predict the observed frames, all but the first, as well.

    Returns:
        Frames ``M … T - 1`` ``(B, T - M, C, h, w)`` float32, or with ``every`` frames ``1 … T - 1``.

    Raises:
        ValueError: if there is nothing to observe or nothing to predict.
    """
    length = frames.shape[1]
    if not 1 <= observed < length:
        raise ValueError(f"{observed} of {length} frames cannot be observed: at least 1, and not all")
    state, found = None, list[Tensor]()
    for t in range(length - 1):
        frame = frames[:, t]
        if t >= observed:
            given = None if truth is None else truth[t - observed].view(-1, 1, 1, 1)
            frame = found[-1] if given is None else torch.where(given, frame, found[-1])
        state = model.observe(frame, state, rules)
        if every or t + 1 >= observed:
            found.append(model.predict(state))
    return torch.stack(found, dim=1)
