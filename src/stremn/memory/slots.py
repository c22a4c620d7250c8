"""The slot memory of Sec. 3.2: tensors of fixed shape, written by slot."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.memory.policies import Contest, Policy
from stremn.memory.rules import MemoryLayout
from stremn.ops import mix_slots, replace_slots, space_time_read, target_fit, update_similarity
from stremn.ops.read import Similarity

__all__ = ["EMPTY", "EXACT", "SlotMemory", "Template"]

EMPTY = -1
"""``frame_index`` of an empty slot."""

Fuse = Callable[["SlotMemory", Tensor], "SlotMemory"]
"""From a memory, and which slot of each object is about to be replaced ``(O, K)``, one-hot or zero, to the
memory that is then written."""

CORRECTIONS = 2
"""Most slots of an object for frames where it was corrected; the next correction replaces the oldest."""

EXACT = ("moments", "permanent_fit", "frame")
"""Tensors of a memory that are float32 at least, also where its templates are in half precision."""


@dataclass(frozen=True)
class Template:
    """One frame as the memory keeps it: projections of its feature map, positions before channels.

    The projections are affine and the weights of Eq. (4) add up to one, so mixing projections equals
    projecting the mixture; the slots never need to be projected again.

    Attributes:
        key: ``(O, N, Ck)``.
        value: ``(O, N, Cv)``.
        update_key: of Eq. (1), what a contender is compared with, U^M ``(O, N, Cu)``.
        moments: an addition to the paper, what a target model is fitted to ``(O, C, C + T)``, see
            :func:`stremn.ops.target_moments`; ``None`` in a model without one.
        contender_key: of Eq. (1), what the template is compared by when it competes, U^Q ``(O, N, Cu)``;
            ``None`` in a model where ``update_key`` serves as both.
        frame: an addition, the pixels of the frame itself ``(O, h·w, C)``; ``None`` in a model that does not
            look at them again.
    """

    key: Tensor
    value: Tensor
    update_key: Tensor
    moments: Tensor | None = None
    contender_key: Tensor | None = None
    frame: Tensor | None = None

    def __iter__(self) -> Iterator[Tensor]:
        """The tensors that there are."""
        return iter(self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that there are, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def of_objects(self, objects: slice | Sequence[int]) -> "Template":
        """Only these of the objects, in this order."""
        return Template(**{name: tensor[objects] for name, tensor in self.tensors().items()})


@dataclass(frozen=True)
class SlotMemory:
    """Templates of ``O`` objects in ``K`` slots each.

    With gradients enabled every write makes new tensors by Eq. (4); otherwise it writes in place, by slot.
    Either way use the memory that the method returns.

    Attributes:
        layout: what each slot is for.
        key: ``(O, K, N, Ck)``.
        value: ``(O, K, N, Cv)``.
        update_key: ``(O, K, N, Cu)``.
        frame_index: frame in each slot ``(O, K)`` int64, :data:`EMPTY` where there is none.
        seen: contenders so far for each object ``(O,)`` int64.
        moments: an addition, ``(O, K, C, C + T)``; ``None`` in a model without a target model.
        permanent_fit: the target model of the given slots ``(O, C, T)``, permanent and corrections, which
            follows from their moments and is kept because it is read at every frame; ``None`` where there is
            none.
        contender_key: ``(O, K, N, Cu)``; ``None`` where ``update_key`` serves as both.
        frame: an addition, ``(O, K, h·w, C)``; ``None`` in a model that does not look at frames again.

    Examples:
        >>> from stremn.memory import get_policy
        >>> def template():  # of one object at 3x3 positions
        ...     return Template(torch.randn(1, 9, 8), torch.randn(1, 9, 16), torch.randn(1, 9, 8))
        >>> with torch.inference_mode():
        ...     memory = SlotMemory.of_first_frame(template(), 0, MemoryLayout.of_slots(4))
        ...     for frame in range(1, 6):
        ...         memory = memory.update(template(), frame, get_policy("oldest"))
        ...     memory.frame_index.tolist(), memory.read(torch.randn(1, 9, 8)).shape
        ([[0, 5, 3, 4]], torch.Size([1, 9, 16]))
    """

    layout: MemoryLayout
    key: Tensor
    value: Tensor
    update_key: Tensor
    frame_index: Tensor
    seen: Tensor
    moments: Tensor | None = None
    permanent_fit: Tensor | None = None
    contender_key: Tensor | None = None
    frame: Tensor | None = None

    @classmethod
    def of_first_frame(
        cls, template: Template, frame_index: int | Tensor, layout: MemoryLayout
    ) -> "SlotMemory":
        """A memory of fixed shape whose first slot holds the template of the frame where masks were given.

        Without a permanent slot this is the first chosen one, and without any of these the latest.
        """
        objects = template.key.shape[0]
        index = torch.full((objects, layout.slots), EMPTY, device=template.key.device)
        banks = {
            name: t.new_zeros((objects, layout.slots, *t.shape[1:])) for name, t in template.tensors().items()
        }
        memory = cls(layout, frame_index=index, seen=index[:, 0], **banks)
        return memory.begin(template, frame_index, torch.ones_like(index[:, 0], dtype=torch.bool))

    def begin(self, template: Template, frame_index: int | Tensor, new: Tensor) -> "SlotMemory":
        """Begin the memory of some of the objects anew, as :meth:`of_first_frame` does.

        What their other slots hold stays there and is not read: they are empty.

        Args:
            template: of the frame where their masks were given, of all objects.
            frame_index: its index, ``()`` or ``(O,)``.
            new: which objects ``(O,)`` bool.

        Returns:
            The memory to go on with.
        """
        layout = self.layout
        # Without a permanent slot the first frame is the first contender.
        start = layout.first_chosen if layout.chosen and not layout.permanent else 0
        index = self.frame_index.masked_fill(new.unsqueeze(1), EMPTY)
        seen = self.seen.masked_fill(new, int(not layout.permanent))
        frame = torch.as_tensor(frame_index, device=index.device).expand(self.objects)
        memory = replace(self, frame_index=index, seen=seen)
        return memory._write(template, frame, torch.where(new, start, -1))._fitted(new)

    @property
    def occupied(self) -> Tensor:
        """Which slots hold a template, ``(O, K)`` bool."""
        return self.frame_index != EMPTY

    @property
    def objects(self) -> int:
        """O."""
        return self.frame_index.shape[0]

    @property
    def slots(self) -> int:
        """Slots for each object; ``layout.slots``, more only in a growing memory."""
        return self.frame_index.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, to save or to move them."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "layout"}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def _banks(self) -> dict[str, Tensor]:
        """What templates are written to, by the names of a template's tensors."""
        return {n: t for n, t in self.tensors().items() if n not in ("frame_index", "seen", "permanent_fit")}

    def template(self, weights: Tensor) -> Template:
        """What one slot of each object holds, by weights ``(O, K)``, one-hot, which may carry gradients."""
        return Template(
            **{n: (weights.to(bank)[:, :, None, None] * bank).sum(dim=1) for n, bank in self._banks().items()}
        )

    def read(
        self,
        query_key: Tensor,
        *,
        similarity: Similarity = "dot",
        scale: float | None = None,
        parts: Sequence[int] = (),
    ) -> Tensor:
        """Read the memory for every position of the query, Eq. (5).

        Args:
            query_key: ``(O, N, Ck)``.
            similarity: see :func:`stremn.ops.affinity`.
            scale: see there.
            parts: numbers of slots that are read by themselves, in order; empty reads all together.

        Returns:
            Readouts of P parts, one after the other ``(O, N, P·Cv)``.
        """
        positions = self.key.shape[2]
        return space_time_read(
            query_key,
            self.key.flatten(1, 2),
            self.value.flatten(1, 2),
            similarity=similarity,
            scale=scale,
            occupied=self.occupied.repeat_interleave(positions, dim=1),
            parts=[n * positions for n in parts],
        )

    def update(
        self,
        template: Template,
        frame_index: int | Tensor,
        policy: Policy,
        *,
        candidate: bool | Tensor = True,
        present: Tensor | None = None,
        noise: bool = False,
        tau: float = 1.0,
        generator: torch.Generator | None = None,
        fusion: Fuse | None = None,
    ) -> "SlotMemory":
        """Take in the template of a new frame, Sec. 3.2.

        With a latest slot, the template goes there, and what was there competes for the chosen slots;
        without one, the template itself competes.

        Args:
            template: the new frame.
            frame_index: its index, ``()`` or ``(O,)``.
            policy: decides the contest.
            candidate: False skips the contest at this frame; a tensor ``()`` or ``(O,)`` bool where the step
                is one graph for all frames.
            present: which objects the frame shows ``(O,)`` bool; the memories of the others stay as they are.
            noise: sample the learned choice by Gumbel noise, Eq. (3).
            tau: temperature of Eq. (3).
            generator: source of every random number.
            fusion: what a template that is about to be replaced leaves to others, see
                :class:`stremn.memory.Fusion`; ``None`` is nothing, as in the paper's final system.

        Returns:
            The memory to go on with.
        """
        objects = self.frame_index.shape[0]
        frame = torch.as_tensor(frame_index, device=self.frame_index.device).expand(objects)
        memory = self
        if candidate is not False:
            contender, contender_frame = template, frame
            if self.layout.latest:
                slot = self.layout.latest_slot
                contender = Template(**{name: bank[:, slot] for name, bank in self._banks().items()})
                contender_frame = self.frame_index[:, slot].clone()
            for competes in (present, candidate):
                if isinstance(competes, Tensor):
                    contender_frame = torch.where(competes, contender_frame, EMPTY)
            memory = memory._compete(contender, contender_frame, policy, noise, tau, generator, fusion)
        if self.layout.latest:
            latest = torch.full_like(self.seen, self.layout.latest_slot)
            if present is not None:
                latest = torch.where(present, latest, -1)
            memory = memory._write(template, frame, latest)
        return memory

    def completed(self, template: Template, on: Callable[[Tensor, Tensor], Tensor]) -> Template:
        """A template of a part of a frame, with the rest of the frame as the newest one has it.

        What is not looked at is taken to look as it did; so the memory goes on to know what is no object.

        Args:
            template: of the part; moments stay those of the part.
            on: puts positions of the part ``(O, n, C)`` on those of a frame ``(O, N, C)``.
        """
        parts, newest = template.tensors(), self.frame_index.argmax(dim=1)
        each = torch.arange(self.objects, device=newest.device)
        for name, bank in self._banks().items():
            if name != "moments":
                parts[name] = on(bank[each, newest], parts[name].to(bank))
        return Template(**parts)

    def _fitted(self, new: Tensor | None = None) -> "SlotMemory":
        """With the target model of the templates in the given slots; ``new`` ``(O,)`` bool have others."""
        if self.moments is None or not self.layout.permanent:
            return self
        known, moments = self.permanent_fit, self.given_moments()
        if known is None or new is None:
            return replace(self, permanent_fit=target_fit(moments).contiguous())
        fit = when(new.any(), target_fit, torch.zeros_like(known), moments)
        return replace(self, permanent_fit=torch.where(new[:, None, None], fit, known))

    def given_moments(self) -> Tensor:
        """Mean moments of the templates in the given slots ``(O, C, C + T)``, of a model that has them."""
        assert self.moments is not None
        holds = self.occupied[:, : self.layout.given, None, None]
        return (self.moments[:, : self.layout.given] * holds).sum(dim=1) / holds.sum(dim=1).clamp(min=1)

    def given_alone(self) -> "SlotMemory":
        """A memory of the given slots only, which shares its tensors with this one."""
        layout = replace(self.layout, latest=False, chosen=0)
        banks: dict[str, Any] = {name: bank[:, : layout.given] for name, bank in self._banks().items()}
        return replace(self, layout=layout, **banks, frame_index=self.frame_index[:, : layout.given])

    def correct(
        self, template: Template, frame_index: int | Tensor, corrected: Tensor, present: Tensor
    ) -> "SlotMemory":
        """Take in the masks that were given for the frame of the latest slot, an addition to the paper.

        The template of a corrected object goes to a slot that is never contested: the one of the same frame
        if it was given there before, else a new one, or once there are :data:`CORRECTIONS` the oldest of
        them. Its chosen templates are dropped, as the error may be among them.

        Args:
            template: the frame with its corrected masks, of all objects.
            frame_index: its index, ``()``.
            corrected: the objects whose masks were given ``(O,)`` bool.
            present: the objects that the frame shows ``(O,)`` bool; of a corrected one that it does not show
                the latest template is dropped.

        Returns:
            The memory to go on with, with a slot more for each object if none was free.
        """
        frame = torch.as_tensor(frame_index, device=self.frame_index.device)
        stays, first = corrected & present, self.layout.given
        given = self.frame_index[:, :first]
        taken = ~((given == frame) | (given == EMPTY)).any(dim=1)
        if self.layout.corrections < CORRECTIONS and bool((taken & stays).any()):
            return self._with_correction_slot().correct(template, frame, corrected, present)
        # The oldest is the last resort: of this frame comes before empty, and the first frame is never it.
        rank = torch.where(given == frame, -2, given)
        rank[:, 0] = torch.where(given[:, 0] == frame, -2, torch.iinfo(rank.dtype).max)
        slot = torch.where(stays, rank.argmin(dim=1), -1)
        # In the frame where an object was given its latest slot is empty.
        latest = torch.where(present & (given[:, 0] != frame), self.layout.latest_slot, -1)
        memory = self._write(template, frame.expand(self.objects), slot)
        memory = memory._write(template, frame.expand(self.objects), latest)
        drop = corrected.unsqueeze(1) & (
            torch.arange(self.slots, device=frame.device) >= self.layout.first_chosen
        )
        drop[:, self.layout.latest_slot] = corrected & ~present
        return replace(memory, frame_index=memory.frame_index.masked_fill(drop, EMPTY))._fitted()

    def _with_correction_slot(self) -> "SlotMemory":
        """With one more slot after the given ones, empty."""
        at = self.layout.given
        wide: dict[str, Any] = {
            name: torch.cat([bank[:, :at], torch.zeros_like(bank[:, :1]), bank[:, at:]], dim=1)
            for name, bank in self._banks().items()
        }
        index = self.frame_index
        wide["frame_index"] = torch.cat(
            [index[:, :at], torch.full_like(index[:, :1], EMPTY), index[:, at:]], 1
        )
        layout = replace(self.layout, corrections=self.layout.corrections + 1)
        return replace(self, layout=layout, **wide)

    def _compete(
        self,
        contender: Template,
        frame: Tensor,
        policy: Policy,
        noise: bool,
        tau: float,
        generator: torch.Generator | None,
        fusion: Fuse | None,
    ) -> "SlotMemory":
        """Let a template of each object, none where ``frame`` is :data:`EMPTY`, compete for a chosen slot."""
        exists, first = frame != EMPTY, self.layout.first_chosen
        memory = replace(self, seen=self.seen + exists)
        if not policy.bounded and bool(self.occupied[:, first:].all(dim=1).any()):
            memory = memory._with_slots(self.slots + 1)
        if memory.slots == first:
            return memory
        frames = memory.frame_index[:, first:]
        scores, weights = None, None
        if policy.compares is not None:
            bank = getattr(memory, policy.compares)[:, first:]
            asking = getattr(contender, policy.compares)
            if policy.compares == "update_key" and contender.contender_key is not None:
                asking = contender.contender_key
            scores = when(exists.any(), update_similarity, asking.new_zeros(frames.shape), asking, bank)
        pinned = self.layout.permanent and self.layout.latest
        slot = policy.choose(Contest(frames, memory.seen, scores, pinned, noise, tau, generator))
        if slot.is_floating_point():
            weights, slot = slot, slot.detach().argmax(dim=1)
        if policy.fills:
            empty = frames == EMPTY
            any_empty, first_empty = empty.any(dim=1), empty.int().argmax(dim=1)
            slot = torch.where(any_empty, first_empty, slot)
            if weights is not None:
                filling = F.one_hot(first_empty, empty.shape[1]).to(weights.dtype)
                weights = torch.where(any_empty.unsqueeze(1), filling, weights)
        slot = torch.where(exists & (slot >= 0), slot + first, -1)
        if weights is not None:
            weights = F.pad(weights * exists.unsqueeze(1), (first, 0))
        if fusion is not None:
            hot = torch.arange(memory.slots, device=slot.device) == slot.unsqueeze(1)
            removed = hot.to(memory.key.dtype) if weights is None else weights
            memory = fusion(memory, removed * memory.occupied)
        return memory._write(contender, frame, slot, weights)

    def _write(
        self, template: Template, frame: Tensor, slot: Tensor, weights: Tensor | None = None
    ) -> "SlotMemory":
        """Write each object's template into its slot ``(O,)``, -1 for none; see :meth:`replaced`."""
        memory = self.replaced(template, slot, weights)
        if not torch.is_grad_enabled():
            replace_slots(self.frame_index, frame, slot)
            return memory
        hot = torch.arange(self.slots, device=slot.device) == slot.unsqueeze(1)
        return replace(memory, frame_index=torch.where(hot, frame.unsqueeze(1), self.frame_index))

    def replaced(self, template: Template, slot: Tensor, weights: Tensor | None = None) -> "SlotMemory":
        """With another template in one slot of each object, as of the same frame, Eq. (4).

        Args:
            template: of all objects.
            slot: ``(O,)`` int64, -1 leaves an object's memory as it is.
            weights: ``(O, K)`` in place of the one-hot vector of ``slot``, where gradients are to pass.
        """
        banks, news = self._banks(), template.tensors()
        if not torch.is_grad_enabled():
            for name, bank in banks.items():
                replace_slots(bank, news[name], slot)
            return self
        hot = torch.arange(self.slots, device=slot.device) == slot.unsqueeze(1)
        weights = hot.to(self.key.dtype) if weights is None else weights
        mixed: dict[str, Any] = {n: mix_slots(bank, news[n], weights) for n, bank in banks.items()}
        return replace(self, **mixed)

    def of_positions(self, positions: int) -> "SlotMemory":
        """The same templates at another number of positions N, each of which is there several times, or not.

        A read and Eq. (1) ask what is there and how much of it, not where.
        """
        index = torch.arange(positions, device=self.key.device) * self.key.shape[2] // positions
        key, value, update_key = (bank[:, :, index] for bank in (self.key, self.value, self.update_key))
        return replace(self, key=key, value=value, update_key=update_key)

    def append_objects(self, other: "SlotMemory") -> "SlotMemory":
        """This memory's objects followed by those of ``other``, whose layout must be the same."""
        if self.layout != other.layout:
            raise ValueError(f"layouts differ: {self.layout} and {other.layout}")
        slots = max(self.slots, other.slots)
        both = [m._with_slots(slots).tensors() for m in (self, other)]
        return SlotMemory(self.layout, **{k: torch.cat([both[0][k], both[1][k]]) for k in both[0]})

    def _with_slots(self, slots: int) -> "SlotMemory":
        extra = slots - self.slots
        if extra == 0:
            return self
        wide: dict[str, Any] = {
            name: F.pad(bank, (0, 0, 0, 0, 0, extra)) for name, bank in self._banks().items()
        }
        frame_index = F.pad(self.frame_index, (0, extra), value=EMPTY)
        return replace(self, **wide, frame_index=frame_index)

    def select_objects(self, index: Tensor | slice) -> "SlotMemory":
        """Only the objects at these positions ``(O',)``, in this order; of a slice it shares the tensors."""
        return SlotMemory(self.layout, **{name: tensor[index] for name, tensor in self.tensors().items()})


def when(asked: Tensor, compute: Callable[..., Tensor], otherwise: Tensor, *arguments: Tensor) -> Tensor:
    """Compute something, in an exported graph only where it is asked for.

    Args:
        asked: ``()`` bool.
        compute: a function of ``arguments``.
        otherwise: what a graph gives where it is not; of the shape that ``compute`` returns.
        arguments: of ``compute``.
    """
    if not torch.compiler.is_exporting():
        return compute(*arguments)
    # Copies, which the graph does without: its branches may not share memory with one another.
    copies = tuple(argument.clone() for argument in (otherwise, *arguments))
    return torch.cond(asked, lambda _, *given: compute(*given), lambda first, *_: first.clone(), copies)
