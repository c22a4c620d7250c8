"""Policies: which chosen slot a new template replaces (Sec. 3.2, and rules A-F of Sec. 4.1.2).

A policy is a function of a :class:`Contest` to a slot for each object. To add one, write the function and
decorate it; every test, benchmark and table walks :data:`POLICIES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.ops import gumbel_softmax, sample_gumbel, straight_through

__all__ = ["DISCARD", "POLICIES", "Contest", "Policy", "get_policy", "register_policy"]

DISCARD = -1
"""The slot of a contender that is not kept."""


@dataclass(frozen=True)
class Contest:
    """What a policy sees when a contender asks for one of the ``C`` chosen slots of each object.

    Attributes:
        frame_index: frame of each slot's template ``(O, C)``, int64, -1 where the slot is empty.
        seen: contenders so far, this one included ``(O,)``, int64.
        scores: similarity of the contender to each slot, Eq. (1), ``(O, C)``; ``None`` unless the policy
            declared which keys it compares.
        pinned: True if first and latest frame have slots of their own, outside the contest.
        noise: True if the learned choice is sampled by Gumbel noise (training, or on request).
        tau: temperature of that sample, Eq. (3).
        generator: source of every random number.

    Examples:
        >>> contest = Contest(frame_index=torch.tensor([[3, 9, 5]]), seen=torch.tensor([7]))
        >>> get_policy("oldest").choose(contest).tolist()
        [0]
    """

    frame_index: Tensor
    seen: Tensor
    scores: Tensor | None = None
    pinned: bool = False
    noise: bool = False
    tau: float = 1.0
    generator: torch.Generator | None = None

    def random(self, high: Tensor) -> Tensor:
        """Uniform integers in [0, high) for each object, ``(O,)`` int64."""
        draw = torch.rand(high.shape, generator=self.generator, dtype=torch.float64)
        return (draw.to(high.device) * high).long().clamp_max(high - 1)


Choose = Callable[[Contest], Tensor]


@dataclass(frozen=True)
class Policy:
    """A named rule.

    Attributes:
        name: name in the registry.
        choose: returns the slot for each object ``(O,)`` int64, :data:`DISCARD` to keep none, or
            straight-through weights ``(O, C)``, floating point, which carry gradients.
        compares: keys that ``Contest.scores`` compares: ``"update_key"`` (learned), ``"key"`` (appearance).
        fills: whether empty slots are filled first, without asking (``n < K`` in Sec. 3.2).
        bounded: False only for growing memory, which appends every contender.
        draws: whether the rule draws random numbers even without ``Contest.noise``.
    """

    name: str
    choose: Choose = field(repr=False)
    compares: Literal["update_key", "key"] | None = None
    fills: bool = True
    bounded: bool = True
    draws: bool = False


POLICIES: dict[str, Policy] = {}
"""All policies by name."""


def register_policy(
    name: str,
    *,
    compares: Literal["update_key", "key"] | None = None,
    fills: bool = True,
    bounded: bool = True,
    draws: bool = False,
) -> Callable[[Choose], Choose]:
    """Decorator that enters a rule into :data:`POLICIES`; see :class:`Policy`."""

    def enter(choose: Choose) -> Choose:
        POLICIES[name] = Policy(name, choose, compares, fills, bounded, draws)
        return choose

    return enter


def get_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        StremnError: if there is none.

    Examples:
        >>> get_policy("learned").compares
        'update_key'
    """
    if not isinstance(name, str) or name not in POLICIES:
        raise StremnError(f"unknown policy '{name}': choose one of {', '.join(POLICIES)}")
    return POLICIES[name]


def _scores(contest: Contest) -> Tensor:
    assert contest.scores is not None
    return contest.scores


@register_policy("learned", compares="update_key")
def learned(contest: Contest) -> Tensor:
    """The paper's: the slot whose learned update keys score highest, Eq. (1)-(3).

    Plain arg max, or with ``noise`` a straight-through Gumbel-Softmax sample.
    """
    scores = _scores(contest)
    if not contest.noise:
        return scores.argmax(dim=-1)
    return straight_through(gumbel_softmax(scores, sample_gumbel(scores, contest.generator), tau=contest.tau))


@register_policy("oldest")
def oldest(contest: Contest) -> Tensor:
    """Rule A, a queue: remove the oldest template."""
    return contest.frame_index.argmin(dim=-1)


@register_policy("newest")
def newest(contest: Contest) -> Tensor:
    """Rule B, a stack: remove the newest template."""
    return contest.frame_index.argmax(dim=-1)


@register_policy("random-drop", draws=True)
def random_drop(contest: Contest) -> Tensor:
    """Rule C: remove one template at random."""
    return contest.random(torch.full_like(contest.seen, contest.frame_index.shape[-1]))


@register_policy("random-select", draws=True)
def random_select(contest: Contest) -> Tensor:
    """Rule D: a uniform sample of all contenders so far, kept online by reservoir sampling."""
    slot = contest.random(contest.seen)
    return torch.where(slot < contest.frame_index.shape[-1], slot, DISCARD)


@register_policy("first-and-last", fills=False)
def first_and_last(contest: Contest) -> Tensor:
    """Rule E: keep only the first and the most recent frame."""
    if contest.pinned:
        return torch.full_like(contest.seen, DISCARD)
    last = min(1, contest.frame_index.shape[-1] - 1)
    return torch.where(contest.frame_index[:, 0] < 0, 0, last)


@register_policy("most-similar", compares="key")
def most_similar(contest: Contest) -> Tensor:
    """Rule F: remove the template whose appearance, by its read keys, is most similar to the new one."""
    return _scores(contest).argmax(dim=-1)


@register_policy("every-nth", bounded=False)
def every_nth(contest: Contest) -> Tensor:
    """STM's growing memory: every contender goes to an empty slot, and none is ever replaced."""
    return torch.full_like(contest.seen, DISCARD)
