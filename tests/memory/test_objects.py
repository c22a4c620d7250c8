"""Objects that join and leave do not disturb each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_memory import DETERMINISTIC, LAYOUTS, PREDICTION, VOS, random_template

from stremn.memory import MemoryLayout, Policy, SlotMemory, Template, get_policy


def _of(template: Template, objects: list[int]) -> Template:
    return Template(*(t[objects] for t in template))


def _alone(
    templates: list[Template], obj: int, start: int, policy: Policy, layout: MemoryLayout
) -> SlotMemory:
    memory = SlotMemory.of_first_frame(_of(templates[start], [obj]), start, layout)
    for frame in range(start + 1, len(templates)):
        memory = memory.update(_of(templates[frame], [obj]), frame, policy)
    return memory


def _assert_same_content(joint: SlotMemory, row: int, alone: SlotMemory) -> None:
    """Equal slots; a growing memory may have more of them, empty, because of another object."""
    width = alone.slots
    assert not joint.occupied[row, width:].any()
    assert joint.frame_index[row, :width].tolist() == alone.frame_index[0].tolist()
    assert joint.seen[row] == alone.seen[0]
    for name in ("key", "value", "update_key"):
        assert torch.equal(getattr(joint, name)[row, :width], getattr(alone, name)[0])


@pytest.mark.parametrize("policy", DETERMINISTIC, ids=lambda policy: policy.name)
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    starts=st.lists(st.integers(0, 7), min_size=2, max_size=4),
    leaves=st.dictionaries(st.integers(1, 3), st.integers(1, 10), max_size=2),
    layout=st.sampled_from(LAYOUTS),
)
def test_objects_together_are_the_objects_alone(
    policy: Policy,
    grad: bool,
    seed: int,
    starts: list[int],
    leaves: dict[int, int],
    layout: MemoryLayout,
) -> None:
    length = 11
    starts[0] = 0
    generator = torch.Generator().manual_seed(seed)
    templates = [random_template(generator, len(starts)) for _ in range(length)]
    with torch.enable_grad() if grad else torch.inference_mode():
        memory: SlotMemory | None = None
        present: list[int] = []
        for frame in range(length):
            staying = [o for o in present if leaves.get(o) != frame]
            if memory is not None and staying != present:
                memory = memory.select_objects(torch.tensor([present.index(o) for o in staying]))
                present = staying
            if memory is not None:
                memory = memory.update(_of(templates[frame], present), frame, policy)
            for obj in (o for o, start in enumerate(starts) if start == frame):
                new = SlotMemory.of_first_frame(_of(templates[frame], [obj]), frame, layout)
                memory = new if memory is None else memory.append_objects(new)
                present.append(obj)
        assert memory is not None
        assert memory.frame_index.shape[0] == len(present)
        for row, obj in enumerate(present):
            _assert_same_content(memory, row, _alone(templates, obj, starts[obj], policy, layout))


def test_selecting_reorders_and_leaves_the_original_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = get_policy("oldest")
    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(random_template(generator, 3), 0, VOS)
        chosen = memory.select_objects(torch.tensor([2, 0]))
        assert torch.equal(chosen.key[:, 0], memory.key[[2, 0], 0])
        chosen.update(random_template(generator, 2), 1, policy)
        assert (memory.frame_index[:, 1] == -1).all()
        assert not memory.key[:, 1].any()


def test_the_last_object_may_leave_and_another_join() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(random_template(generator, 1), 0, VOS)
        empty = memory.select_objects(torch.tensor([], dtype=torch.long))
        empty = empty.update(random_template(generator, 0), 1, get_policy("learned"))
        both = empty.append_objects(memory)
    assert torch.equal(both.key, memory.key)


def test_memories_of_different_layouts_do_not_join() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (
        SlotMemory.of_first_frame(random_template(generator, 1), 0, layout) for layout in (VOS, PREDICTION)
    )
    with pytest.raises(ValueError, match="layouts differ"):
        one.append_objects(other)
