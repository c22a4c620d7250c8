"""The rules told again with lists of frame numbers, and random histories to compare them on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor

from stremn.memory import POLICIES, MemoryLayout, Policy, SlotMemory, Template
from stremn.ops import target_moments

VOS = MemoryLayout(chosen=3)
PREDICTION = MemoryLayout(False, False, 5)
LAYOUTS = [
    VOS,
    PREDICTION,
    MemoryLayout(False, True, 2),
    MemoryLayout(True, False, 2),
    MemoryLayout(True, True, 0),
    MemoryLayout(False, True, 0),
]

BOUNDED = [policy for policy in POLICIES.values() if policy.bounded]
RANDOM = ("random-drop", "random-select")
DETERMINISTIC = [policy for policy in POLICIES.values() if policy.name not in RANDOM]


@dataclass(frozen=True)
class History:
    """A stream of templates, and which frames hold a contest.

    Attributes:
        templates: one for each frame, seeded, float64 so that no two scores tie.
        contests: ``candidate`` of each frame; that of frame 0 is not used.
        seed: of the policy's random numbers.
    """

    templates: list[Template]
    contests: list[bool]
    seed: int = 0

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.templates)

    def run(
        self, policy: Policy, layout: MemoryLayout, *, grad: bool = False, noise: bool = False
    ) -> list[SlotMemory]:
        """The memory after every frame; snapshots, which later writes do not touch."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.enable_grad() if grad else torch.inference_mode():
            memory = SlotMemory.of_first_frame(self.templates[0], 0, layout)
            snapshots = [copy_of(memory)]
            for frame in range(1, self.length):
                memory = memory.update(
                    self.templates[frame],
                    frame,
                    policy,
                    candidate=self.contests[frame],
                    noise=noise,
                    generator=generator,
                )
                snapshots.append(copy_of(memory))
        return snapshots


def copy_of(memory: SlotMemory) -> SlotMemory:
    """With tensors of its own."""
    return SlotMemory(memory.layout, **{name: t.detach().clone() for name, t in memory.tensors().items()})


def random_template(
    generator: torch.Generator, objects: int, positions: int = 2, dtype: torch.dtype = torch.float64
) -> Template:
    """Normally distributed keys and values of widths that differ, and moments of three features."""
    widths = (3, 4, 2, 2, 3, 2)
    draw = [torch.randn(objects, positions, c, generator=generator, dtype=dtype) for c in widths]
    key, value, update_key, contender_key, features, targets = draw
    weights = torch.ones(features.shape[:2], dtype=dtype)
    return Template(key, value, update_key, target_moments(features, targets, weights), contender_key)


def random_history(seed: int, objects: int, length: int, contests: list[bool] | None = None) -> History:
    """Seeded templates; a contest at every frame unless told."""
    generator = torch.Generator().manual_seed(seed)
    templates = [random_template(generator, objects) for _ in range(length)]
    return History(templates, contests or [True] * length, seed)


@st.composite
def histories(draw: st.DrawFn, max_length: int = 12) -> History:
    """Random histories of up to three objects."""
    length = draw(st.integers(1, max_length))
    contests = draw(st.lists(st.sampled_from([True, True, False]), min_size=length, max_size=length))
    return random_history(draw(st.integers(0, 2**31)), draw(st.integers(1, 3)), length, contests)


Rule = Callable[["PlainMemory", int], int | None]


@dataclass
class PlainMemory:
    """One object's memory as lists of frames: what the paper says, without tensors.

    Attributes:
        layout: as in :class:`SlotMemory`.
        rule: takes this memory, whose chosen slots are full, and the contender; returns the slot to
            replace or ``None``.
        similarity: of two frames; used by the rules that compare.
        permanent: the frame that was given, ``None`` without such a slot.
        latest: the newest frame.
        chosen: frames of the chosen slots, in slot order.
    """

    layout: MemoryLayout
    rule: Rule
    similarity: Callable[[int, int], float]
    permanent: int | None = None
    latest: int | None = None
    chosen: list[int] = field(default_factory=list)
    bounded: bool = True

    def start(self) -> None:
        """Frame 0, the given one."""
        if self.layout.permanent:
            self.permanent = 0
        elif self.layout.chosen:
            self.chosen.append(0)
        else:
            self.latest = 0

    def update(self, frame: int, contest: bool) -> None:
        """Sec. 3.2 and 4.1.1."""
        contender = self.latest if self.layout.latest else frame
        if contest and contender is not None:
            if len(self.chosen) < self.layout.chosen or not self.bounded:
                self.chosen.append(contender)
            elif self.chosen:
                slot = self.rule(self, contender)
                if slot is not None:
                    self.chosen[slot] = contender
        if self.layout.latest:
            self.latest = frame

    def frames(self, slots: int) -> list[int]:
        """As ``SlotMemory.frame_index`` has it, -1 for an empty slot."""
        held = [self.permanent] if self.layout.permanent else []
        held += [self.latest] if self.layout.latest else []
        held += self.chosen
        held += [None] * (slots - len(held))
        return [-1 if frame is None else frame for frame in held]


def _queue(memory: PlainMemory, contender: int) -> int:
    return memory.chosen.index(min(memory.chosen))


def _stack(memory: PlainMemory, contender: int) -> int:
    return memory.chosen.index(max(memory.chosen))


def _twin(memory: PlainMemory, contender: int) -> int:
    return max(range(len(memory.chosen)), key=lambda i: memory.similarity(contender, memory.chosen[i]))


def _never(memory: PlainMemory, contender: int) -> None:
    raise AssertionError("a growing memory replaces nothing")


RULES: dict[str, Rule] = {
    "learned": _twin,
    "most-similar": _twin,
    "oldest": _queue,
    "newest": _stack,
    "every-nth": _never,
}
"""The rules that can be told by lists; those by chance and ``first-and-last`` have tests of their own."""


def cosine_similarity(history: History, name: str, obj: int) -> Callable[[int, int], float]:
    """Eq. (1) between two frames of one object, by loops over the keys of that name."""

    of_contender = "contender_key" if name == "update_key" else name

    def similarity(new: int, old: int) -> float:
        a = getattr(history.templates[new], of_contender)[obj]
        b = getattr(history.templates[old], name)[obj]
        best = [max(float(u @ v / (u.norm() * v.norm())) for v in b) for u in a]
        return sum(best) / len(best)

    return similarity


def assert_same_memory(one: SlotMemory, other: SlotMemory) -> None:
    """Equal to the last bit."""
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, other.tensors()[name]), name


def assert_holds_what_it_says(memory: SlotMemory, history: History) -> None:
    """Every slot holds the template of its ``frame_index``, and an empty one nothing."""
    for name in ("key", "value", "update_key"):
        bank: Tensor = getattr(memory, name)
        for o, frames in enumerate(memory.frame_index.tolist()):
            for k, frame in enumerate(frames):
                if frame < 0:
                    assert not bank[o, k].any()
                else:
                    assert torch.equal(bank[o, k], getattr(history.templates[frame], name)[o])
