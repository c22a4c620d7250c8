"""Appendix B: a template that is about to be replaced leaves something to others. Tested, and not used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stremn.ops import update_similarity

if TYPE_CHECKING:
    from stremn.memory.slots import SlotMemory, Template

__all__ = ["FUSIONS", "NO_FUSION", "Fusion"]

NO_FUSION = "none"

FUSIONS = (NO_FUSION, "least-similar", "most-similar", "all-others")
"""Which of the other chosen templates take something up: none, one of them, or all."""


@dataclass(frozen=True)
class Fusion:
    """Lets other chosen templates take up what a replaced one held; for :meth:`SlotMemory.update`.

    The permanent template is never changed, and the latest one is about to be overwritten, so neither is a
    target.

    Attributes:
        targets: one of :data:`FUSIONS`; how similar two templates are says Eq. (1) of their update keys.
        fuse: makes of the deleted and the target template the new target, Eq. (6)-(12).
    """

    targets: str
    fuse: Callable[[Template, Template], Template]

    def __call__(self, memory: SlotMemory, removed: Tensor) -> SlotMemory:
        """The memory after fusion; ``removed`` ``(O, K)`` says which slot is about to be replaced."""
        first, slots = memory.layout.first_chosen, memory.slots
        number = torch.arange(slots, device=removed.device)
        others = memory.occupied & (number >= first) & (removed < 0.5)
        others &= (removed > 0.5).any(dim=1, keepdim=True)
        deleted = memory.template(removed)
        if self.targets == "all-others":
            choices = [torch.full_like(memory.seen, slot) for slot in range(first, slots)]
        else:
            scores = update_similarity(deleted.update_key, memory.update_key).detach()
            lowest = self.targets == "least-similar"
            scores = scores.masked_fill(~others, torch.inf if lowest else -torch.inf)
            choices = [scores.argmin(dim=1) if lowest else scores.argmax(dim=1)]
        for slot in choices:
            target = memory.template((number == slot.unsqueeze(1)).to(removed.dtype))
            taken = others.gather(1, slot.unsqueeze(1)).squeeze(1)
            memory = memory.replaced(self.fuse(deleted, target), torch.where(taken, slot, -1))
        return memory
