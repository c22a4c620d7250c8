"""Each rule does what it says, and what all rules have in common."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_memory import (
    BOUNDED,
    LAYOUTS,
    PREDICTION,
    RANDOM,
    RULES,
    VOS,
    History,
    PlainMemory,
    assert_holds_what_it_says,
    cosine_similarity,
    histories,
    random_history,
)
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import (
    POLICIES,
    Contest,
    MemoryLayout,
    Policy,
    SlotMemory,
    Template,
    get_policy,
    register_policy,
)

every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
layouts = st.sampled_from(LAYOUTS)


def _chosen(memory: SlotMemory) -> list[list[int]]:
    """Frames in the chosen slots of every object, without the empty ones."""
    rows = memory.frame_index[:, memory.layout.first_chosen :].tolist()
    return [[frame for frame in row if frame >= 0] for row in rows]


def test_every_rule_has_a_model_to_be_compared_with() -> None:
    assert set(POLICIES) == {*RULES, *RANDOM, "first-and-last"}


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=25, deadline=None)
@given(histories(), layouts, st.booleans())
def test_rule_equals_its_model_on_lists(
    name: str, history: History, layout: MemoryLayout, grad: bool
) -> None:
    assert_equals_its_model(name, history, layout, grad)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("layout", [VOS, PREDICTION], ids=["segmentation", "prediction"])
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
def test_thirty_frames_equal_the_model_on_lists(name: str, layout: MemoryLayout, grad: bool) -> None:
    assert_equals_its_model(name, random_history(5, objects=2, length=30), layout, grad)


def assert_equals_its_model(name: str, history: History, layout: MemoryLayout, grad: bool) -> None:
    """The same frame in every slot after every frame, and in every slot the template of that frame."""
    policy = POLICIES[name]
    memories = history.run(policy, layout, grad=grad)
    for memory in memories:
        assert_holds_what_it_says(memory, history)
    for o in range(memories[0].frame_index.shape[0]):
        similarity = cosine_similarity(history, policy.compares or "key", o)
        plain = PlainMemory(layout, RULES[name], similarity, bounded=policy.bounded)
        plain.start()
        for frame, memory in enumerate(memories):
            if frame > 0:
                plain.update(frame, history.contests[frame])
            assert memory.frame_index[o].tolist() == plain.frames(memory.slots)


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("layout", [VOS, PREDICTION, MemoryLayout(False, False, 2)], ids=str)
def test_first_and_last_keeps_the_first_and_the_most_recent(layout: MemoryLayout, grad: bool) -> None:
    history = random_history(6, objects=2, length=30)
    for frame, memory in enumerate(history.run(get_policy("first-and-last"), layout, grad=grad)):
        assert_holds_what_it_says(memory, history)
        for row in memory.frame_index.tolist():
            assert sorted(f for f in row if f >= 0) == sorted({0, frame})


@pytest.mark.parametrize(("name", "expected"), [("learned", [0, 2]), ("most-similar", [2, 1])])
def test_the_two_rules_by_similarity_compare_different_keys(name: str, expected: list[int]) -> None:
    """Two chosen slots; the newcomer looks like one and has the update key of the other."""
    right, up = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    memory = SlotMemory.of_first_frame(Template(right, right, up), 0, MemoryLayout(False, False, 2))
    with torch.inference_mode():
        memory = memory.update(Template(up, up, right), 1, get_policy(name))
        memory = memory.update(Template(right, right, right), 2, get_policy(name))
    assert memory.frame_index.tolist() == [expected]


@pytest.mark.parametrize("name", RANDOM)
@settings(max_examples=20, deadline=None)
@given(histories(), st.sampled_from([layout for layout in LAYOUTS if layout.chosen]))
def test_a_rule_by_chance_replaces_at_most_one_template_and_only_when_full(
    name: str, history: History, layout: MemoryLayout
) -> None:
    memories = history.run(POLICIES[name], layout)
    for frame in range(1, history.length):
        contender = frame - 1 if layout.latest else frame
        # At frame 1 the latest slot, if there is one, has nothing to send into the contest yet.
        contest = history.contests[frame] and not (layout.latest and frame == 1)
        for before, after in zip(_chosen(memories[frame - 1]), _chosen(memories[frame]), strict=True):
            if not contest:
                assert after == before
            elif len(before) < layout.chosen:
                assert after == [*before, contender]
            elif name == "random-drop":
                assert set(after) - set(before) == {contender}
            else:
                assert set(after) - set(before) <= {contender}
            assert len(set(before) - set(after)) <= 1


def _many(name: str, chosen: int, length: int) -> Tensor:
    """Chosen frames after each contest of 2,000 independent objects, ``(T, 2000, C)``."""
    history = random_history(3, objects=2000, length=length)
    history.templates[:] = [type(t)(*(x[:, :1, :1] for x in t)) for t in history.templates]
    memories = history.run(POLICIES[name], MemoryLayout(False, False, chosen))
    return torch.stack([memory.frame_index for memory in memories])


def _chi_square(counts: list[int]) -> float:
    """Distance of the counts from equal ones; its mean is one less than their number."""
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / mean


def test_random_select_is_a_uniform_sample_of_all_frames_at_any_time() -> None:
    held = _many("random-select", chosen=2, length=7)
    for frame in (3, 6):
        subsets = list(combinations(range(frame + 1), 2))
        rows = [tuple(row) for row in held[frame].sort(dim=1).values.tolist()]
        counts = [rows.count(subset) for subset in subsets]
        assert sum(counts) == 2000
        # The 99.99 % point for 5 degrees of freedom is 25.7, for 20 it is 52.4.
        assert _chi_square(counts) < {3: 25.7, 6: 52.4}[frame]


def test_random_select_includes_every_frame_alike_after_many() -> None:
    held = _many("random-select", chosen=4, length=23)[-1]
    counts = torch.bincount(held.flatten(), minlength=23).tolist()
    assert sum(counts) == 4 * 2000
    # A frame is in with probability 4/23, so a standard deviation of its count is 17.
    assert [count / 2000 for count in counts] == pytest.approx([4 / 23] * 23, abs=5 * 17 / 2000)


def test_random_drop_keeps_the_newest_and_drops_any_other_alike() -> None:
    held = _many("random-drop", chosen=4, length=12)
    for frame in (4, 5, 11):
        before, after = held[frame - 1], held[frame]
        slot = (before != after).int().argmax(dim=1)
        assert ((before != after).sum(dim=1) == 1).all()
        assert (after.gather(1, slot.unsqueeze(1)) == frame).all()
        # The 99.99 % point for 3 degrees of freedom.
        assert _chi_square(torch.bincount(slot, minlength=4).tolist()) < 21.1
    # A frame survives each contest with probability 3/4: those that met eight since the memory was full.
    survivors = sum(int((held[11] == frame).sum()) for frame in range(4))
    assert survivors / 8000 == pytest.approx(0.75**8, abs=0.02)


@every_policy
@settings(max_examples=12, deadline=None)
@given(history=histories(), layout=layouts)
def test_only_a_growing_memory_exceeds_k_and_no_frame_is_chosen_twice(
    policy: Policy, history: History, layout: MemoryLayout
) -> None:
    for memory in history.run(policy, layout):
        if policy.bounded:
            assert memory.frame_index.shape[1] == layout.slots
        assert (memory.occupied.sum(dim=1) <= memory.slots).all()
        for row in _chosen(memory):
            assert len(set(row)) == len(row)


def test_every_nth_is_the_only_policy_that_grows_and_it_keeps_all() -> None:
    assert [policy.name for policy in POLICIES.values() if not policy.bounded] == ["every-nth"]
    history = random_history(0, objects=2, length=13, contests=[frame % 3 == 1 for frame in range(13)])
    memory = history.run(get_policy("every-nth"), VOS)[-1]
    # Contenders at frames 4, 7, 10 are the frames before; at frame 1 there was none yet.
    assert memory.frame_index.tolist() == [[0, 12, 3, 6, 9]] * 2


@pytest.mark.parametrize("policy", BOUNDED, ids=lambda policy: policy.name)
@pytest.mark.parametrize("layout", [VOS, PREDICTION], ids=["segmentation", "prediction"])
def test_a_bounded_memory_is_never_reallocated_at_inference(policy: Policy, layout: MemoryLayout) -> None:
    history = random_history(1, objects=2, length=10)
    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(history.templates[0], 0, layout)
        banks = ("key", "value", "update_key", "frame_index")
        places = [(getattr(memory, name).data_ptr(), getattr(memory, name).shape) for name in banks]
        nbytes = memory.nbytes
        for frame in range(1, history.length):
            memory = memory.update(history.templates[frame], frame, policy)
        assert [(getattr(memory, name).data_ptr(), getattr(memory, name).shape) for name in banks] == places
        assert memory.nbytes == nbytes


def test_an_unknown_name_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(StremnError, match="'eldest'") as error:
        get_policy("eldest")
    assert all(name in str(error.value) for name in POLICIES)


def test_a_registered_rule_takes_part_by_its_name() -> None:
    @register_policy("always-first", fills=False)
    def always_first(contest: Contest) -> Tensor:
        return torch.zeros_like(contest.seen)

    try:
        history = random_history(0, objects=1, length=5)
        memory = history.run(get_policy("always-first"), MemoryLayout(False, False, 3))[-1]
        assert memory.frame_index.tolist() == [[4, -1, -1]]
    finally:
        del POLICIES["always-first"]
