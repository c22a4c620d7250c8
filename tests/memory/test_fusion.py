"""Appendix B: which templates take up what a replaced one held, and that nothing else changes (M10)."""

from itertools import pairwise

import pytest
import torch
from plain_memory import PREDICTION, VOS, History, assert_same_memory, copy_of, random_history
from torch import Tensor

from stremn.memory import FUSIONS, NO_FUSION, Fusion, MemoryLayout, SlotMemory, Template, get_policy
from stremn.ops import update_similarity

TARGETS = [name for name in FUSIONS if name != NO_FUSION]

every_choice = pytest.mark.parametrize("targets", TARGETS)


def _half(deleted: Template, target: Template) -> Template:
    """Half of each; moments are left out of account."""
    mixed = {name: (target.tensors()[name] + t) / 2 for name, t in deleted.tensors().items()}
    return Template(**mixed)


def _run(history: History, targets: str, layout: MemoryLayout, *, grad: bool = False) -> list[SlotMemory]:
    with torch.enable_grad() if grad else torch.inference_mode():
        memory = SlotMemory.of_first_frame(history.templates[0], 0, layout)
        found = [copy_of(memory)]
        for frame in range(1, history.length):
            fusion = None if targets == NO_FUSION else Fusion(targets, _half)
            memory = memory.update(history.templates[frame], frame, get_policy("oldest"), fusion=fusion)
            found.append(copy_of(memory))
    return found


def _expected(before: SlotMemory, slot: int, targets: str, obj: int) -> list[int]:
    """Slots that take something up when one is replaced: by loops over the others."""
    others = [k for k in range(before.layout.first_chosen, before.slots) if k != slot]
    if targets == "all-others":
        return others
    keys = before.update_key[obj : obj + 1]
    alike = {k: float(update_similarity(keys[:, slot], keys[:, [k]])) for k in others}
    return [(min if targets == "least-similar" else max)(alike, key=lambda k: alike[k])]


@every_choice
@pytest.mark.parametrize("layout", [VOS, PREDICTION], ids=["vos", "prediction"])
def test_only_the_targets_change_and_by_what_was_replaced(targets: str, layout: MemoryLayout) -> None:
    history = random_history(3, objects=2, length=11)
    memories = _run(history, targets, layout)
    replaced = 0
    for before, after in pairwise(memories):
        for obj in range(2):
            moved = (before.frame_index[obj] != after.frame_index[obj]) & (before.frame_index[obj] >= 0)
            (gone,) = [k for k in moved.nonzero().flatten().tolist() if k >= layout.first_chosen] or [None]
            expected = [] if gone is None else _expected(before, gone, targets, obj)
            replaced += len(expected)
            for k in range(before.slots):
                if moved[k] or before.frame_index[obj, k] < 0:
                    continue
                old, new = before.value[obj, k], after.value[obj, k]
                assert torch.equal(new, (old + before.value[obj, gone]) / 2 if k in expected else old)
    assert replaced > 4


@every_choice
def test_the_same_frames_are_held_and_the_first_stays_as_it_was(targets: str) -> None:
    history = random_history(4, objects=2, length=10)
    for fused, plain in zip(_run(history, targets, VOS), _run(history, NO_FUSION, VOS), strict=True):
        assert torch.equal(fused.frame_index, plain.frame_index)
        assert torch.equal(fused.value[:, 0], history.templates[0].value)


@every_choice
def test_training_and_inference_fuse_alike(targets: str) -> None:
    history = random_history(6, objects=2, length=9)
    pairs = zip(_run(history, targets, VOS), _run(history, targets, VOS, grad=True), strict=True)
    for one, other in pairs:
        assert_same_memory(one, other)


@every_choice
def test_gradients_reach_the_network_and_the_replaced_template(targets: str) -> None:
    history = random_history(8, objects=1, length=8)
    share = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    first: list[Tensor] = [history.templates[1].value.requires_grad_()]

    def mixed(deleted: Template, target: Template) -> Template:
        tensors = target.tensors()
        return Template(**{n: (1 - share) * tensors[n] + share * t for n, t in deleted.tensors().items()})

    memory = SlotMemory.of_first_frame(history.templates[0], 0, VOS)
    for frame in range(1, history.length):
        memory = memory.update(
            history.templates[frame], frame, get_policy("oldest"), fusion=Fusion(targets, mixed)
        )
    # Frame 1 itself has been replaced.
    assert 1 not in memory.frame_index[0].tolist()
    memory.value.sum().backward()
    assert share.grad is not None
    assert first[0].grad is not None
    assert first[0].grad.abs().sum() > 0
