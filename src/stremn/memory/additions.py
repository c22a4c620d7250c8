"""What our models read from the slots beyond the paper: parts apart, a target model, only sure templates.

Nothing here is needed to reproduce the paper; :mod:`stremn.memory.slots` is complete without.
"""

import torch
from torch import Tensor

from stremn.memory.slots import SlotMemory
from stremn.ops import target_fit
from stremn.ops.read import Similarity

__all__ = ["read_given_target", "read_separately", "read_target", "surely_visible"]


def read_separately(
    memory: SlotMemory,
    query_key: Tensor,
    *,
    similarity: Similarity = "dot",
    scale: float | None = None,
) -> Tensor:
    """Read the given slots (permanent and corrections), the latest and the chosen ones each by themselves.

    Read together, nearly all weight goes to the latest template, which looks most like the query, and the
    others have no say. What an object's part does not hold yet is replaced by its given slots'.

    Args:
        memory: of ``O`` objects, with a permanent slot.
        query_key: ``(O, N, Ck)``.
        similarity: see :func:`stremn.ops.affinity`.
        scale: see there.

    Returns:
        ``(O, N, 3·Cv)``.

    Raises:
        ValueError: if the layout has no permanent slot.
    """
    if not memory.layout.permanent:
        raise ValueError("a memory is read in parts only if it has a permanent slot")
    first, latest = memory.layout.first_chosen, int(memory.layout.latest)
    parts = [n for n in (memory.layout.given, latest, memory.slots - first) if n]
    readout = memory.read(query_key, similarity=similarity, scale=scale, parts=parts)
    readout = readout.unflatten(-1, (len(parts), -1))
    holds = torch.stack([part.any(dim=1) for part in memory.occupied.split(parts, dim=1)], dim=1)
    readout = torch.where(holds[:, None, :, None], readout, readout[:, :, :1])
    if len(parts) == 3:
        return readout.flatten(2)
    order = (0, latest, (len(parts) - 1) * int(memory.slots > first))
    return torch.cat([readout[:, :, part] for part in order], dim=-1)


def read_target(memory: SlotMemory, features: Tensor) -> Tensor:
    """Predict by two target models: one fitted to the given slots, one to all slots.

    Given are the permanent slot and corrections. In the second they count as much as all others together. See
    :mod:`stremn.ops.ridge`.

    Args:
        memory: of ``O`` objects, with moments and a permanent slot.
        features: of the frame ``(O, N, C)``, the same channels that the moments are of.

    Returns:
        ``(O, N, 2·T)`` float32, of the given slots first.

    Raises:
        ValueError: if there are no moments or the layout has no permanent slot.
    """
    moments = memory.moments
    if moments is None or not memory.layout.permanent:
        raise ValueError("a target model needs moments and a permanent slot to be fitted to")
    parts = memory.occupied.to(moments.dtype).split(
        [memory.layout.given, memory.slots - memory.layout.given], 1
    )
    weights = torch.cat([part / part.sum(dim=1, keepdim=True).clamp(min=1) for part in parts], dim=1)
    given = _given_fit(memory)
    # Autocast would round the moments, and what is solved with them would be far off.
    with torch.autocast(features.device.type, enabled=False):
        every = given
        if memory.slots > memory.layout.given:
            every = target_fit((weights.unsqueeze(1) @ moments.flatten(2)).view_as(moments[:, 0]))
        fits = torch.cat([given, every], dim=-1)
        return features.to(fits.dtype) @ fits


def read_given_target(memory: SlotMemory, features: Tensor, channels: slice) -> Tensor:
    """Predict some of the channels by the target model of the given slots alone ``(O, N, T')`` float32.

    Args:
        memory: see :func:`read_target`.
        features: see there.
        channels: which of T.
    """
    fit = _given_fit(memory)[..., channels]
    with torch.autocast(features.device.type, enabled=False):
        return features.to(fit.dtype) @ fit


def _given_fit(memory: SlotMemory) -> Tensor:
    """The target model of the given slots ``(O, C, T)``."""
    kept = memory.permanent_fit
    return target_fit(memory.given_moments()) if kept is None else kept


def surely_visible(probabilities: Tensor, certainty: float) -> Tensor:
    """Tell which objects a frame shows surely enough for its template to be worth keeping.

    A template made while an object is hidden or lost says that the object is nowhere, also where it comes
    back, and would keep it from ever being found again.

    Args:
        probabilities: of the objects ``(O, 1, h, w)``.
        certainty: least mean probability of the pixels that an object has, those above one half.

    Returns:
        ``(O,)`` bool; False for an object without a pixel.
    """
    own = probabilities > 0.5
    pixels = own.flatten(1).sum(dim=1)
    mean = (probabilities * own).flatten(1).sum(dim=1) / pixels.clamp_min(1)
    return (pixels > 0) & (mean >= certainty)
