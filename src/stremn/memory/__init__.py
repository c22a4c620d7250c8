"""Slot memory and the rules that decide which slot a new template replaces. Knows only ``ops``.

The paper is in ``slots``, ``policies`` and ``rules``, and its negative result in ``fusion``; ``history``
records what sat in which slot, and ``additions`` is ours.
"""

from stremn.memory.additions import read_given_target, read_separately, read_target, surely_visible
from stremn.memory.fusion import FUSIONS, NO_FUSION, Fusion
from stremn.memory.history import MemoryHistory
from stremn.memory.policies import POLICIES, Contest, Policy, get_policy, register_policy
from stremn.memory.rules import MemoryLayout, Rules
from stremn.memory.slots import EXACT, SlotMemory, Template

__all__ = [
    "EXACT",
    "FUSIONS",
    "NO_FUSION",
    "POLICIES",
    "Contest",
    "Fusion",
    "MemoryHistory",
    "MemoryLayout",
    "Policy",
    "Rules",
    "SlotMemory",
    "Template",
    "get_policy",
    "read_given_target",
    "read_separately",
    "read_target",
    "register_policy",
    "surely_visible",
]
