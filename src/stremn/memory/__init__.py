"""Slot memory and the rules that decide which slot a new template replaces. Knows only ``ops``."""

from stremn.memory.history import MemoryHistory
from stremn.memory.policies import POLICIES, Contest, Policy, get_policy, register_policy
from stremn.memory.rules import Rules, surely_visible
from stremn.memory.slots import EXACT, MemoryLayout, SlotMemory, Template

__all__ = [
    "EXACT",
    "POLICIES",
    "Contest",
    "MemoryHistory",
    "MemoryLayout",
    "Policy",
    "Rules",
    "SlotMemory",
    "Template",
    "get_policy",
    "register_policy",
    "surely_visible",
]
