"""Laws of the slot memory: M1, M4-M6, M12."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_memory import (
    DETERMINISTIC,
    LAYOUTS,
    PREDICTION,
    VOS,
    History,
    assert_holds_what_it_says,
    assert_same_memory,
    copy_of,
    histories,
    random_history,
)
from safetensors.torch import load, save

from stremn.memory import (
    POLICIES,
    Contest,
    MemoryLayout,
    Policy,
    SlotMemory,
    Template,
    get_policy,
    read_separately,
    read_target,
    surely_visible,
)
from stremn.ops import space_time_read, target_fit

every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


@every_policy
@settings(max_examples=12, deadline=None)
@given(history=histories(), layout=st.sampled_from(LAYOUTS), noise=st.booleans())
def test_training_and_inference_write_the_same_memory(
    policy: Policy, history: History, layout: MemoryLayout, noise: bool
) -> None:
    inference = history.run(policy, layout, noise=noise)
    training = history.run(policy, layout, noise=noise, grad=True)
    for one, other in zip(inference, training, strict=True):
        assert_same_memory(one, other)


@every_policy
@settings(max_examples=8, deadline=None)
@given(history=histories(), layout=st.sampled_from(LAYOUTS))
def test_every_slot_holds_the_template_of_its_frame_index(
    policy: Policy, history: History, layout: MemoryLayout
) -> None:
    for memory in history.run(policy, layout):
        assert_holds_what_it_says(memory, history)


@every_policy
@settings(max_examples=8, deadline=None)
@given(history=histories())
def test_the_given_frame_stays_and_the_latest_is_the_newest(policy: Policy, history: History) -> None:
    for frame, memory in enumerate(history.run(policy, VOS)):
        assert (memory.frame_index[:, 0] == 0).all()
        assert (memory.frame_index[:, VOS.latest_slot] == (frame or -1)).all()


def test_the_previous_latest_is_the_contender() -> None:
    takes_all = Policy("takes-all", lambda contest: torch.zeros_like(contest.seen), fills=False)
    history = random_history(0, objects=2, length=6)
    for frame, memory in enumerate(history.run(takes_all, VOS)):
        contender = frame - 1 if frame > 1 else -1
        assert (memory.frame_index[:, VOS.first_chosen] == contender).all()
        assert_holds_what_it_says(memory, history)


@pytest.mark.parametrize("policy", DETERMINISTIC, ids=lambda policy: policy.name)
@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("layout", [VOS, PREDICTION])
def test_a_frame_without_the_object_leaves_its_memory_alone(
    policy: Policy, grad: bool, layout: MemoryLayout
) -> None:
    history = random_history(3, objects=2, length=12)
    hidden = {4, 7, 8, 10}
    with torch.enable_grad() if grad else torch.inference_mode():
        both = SlotMemory.of_first_frame(history.templates[0], 0, layout)
        alone = [SlotMemory.of_first_frame(_of(history.templates[0], o), 0, layout) for o in (0, 1)]
        for frame, template in list(enumerate(history.templates))[1:]:
            both = both.update(template, frame, policy, present=torch.tensor([True, frame not in hidden]))
            for o in (0, 1):
                if o == 0 or frame not in hidden:
                    alone[o] = alone[o].update(_of(template, o), frame, policy)
    for o, memory in enumerate(alone):
        used = both.frame_index[o] >= 0
        assert both.seen[o] == memory.seen[0]
        assert both.frame_index[o][used].tolist() == memory.frame_index[0][memory.occupied[0]].tolist()
        assert torch.equal(both.value[o][used], memory.value[0][memory.occupied[0]])
    assert not hidden & set(both.frame_index[1].tolist())


def test_an_object_shows_where_it_has_pixels_that_are_sure() -> None:
    maps = torch.zeros(4, 1, 4, 4)
    maps[1, 0, 0] = 0.4
    maps[2, 0, 0] = torch.tensor([0.6, 0.8, 0.0, 0.2])
    maps[3, 0, 1:3] = 0.9
    assert surely_visible(maps, 0.0).tolist() == [False, False, True, True]
    assert surely_visible(maps, 0.69).tolist() == [False, False, True, True]
    assert surely_visible(maps, 0.71).tolist() == [False, False, False, True]


def test_in_prediction_the_newcomer_competes_and_every_slot_is_replaceable() -> None:
    turn = Policy("turn", lambda contest: contest.seen % 5, fills=False)
    history = random_history(0, objects=2, length=12)
    memory = history.run(turn, PREDICTION)[-1]
    assert PREDICTION.slots == 5
    # Frame t is contender t + 1 and goes to slot (t + 1) mod 5.
    assert memory.frame_index.tolist() == [[9, 10, 11, 7, 8]] * 2


def test_an_object_given_later_keeps_the_frame_where_it_was_given() -> None:
    history = random_history(0, objects=2, length=9)
    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(history.templates[0], 5, VOS)
        for frame in range(6, 14):
            memory = memory.update(history.templates[frame - 5], frame, get_policy("oldest"))
    assert memory.frame_index.tolist() == [[5, 13, 12, 10, 11]] * 2


def test_the_policy_sees_what_the_memory_holds() -> None:
    seen: list[Contest] = []

    def look(contest: Contest) -> torch.Tensor:
        seen.append(contest)
        return contest.frame_index.argmin(dim=-1)

    random_history(0, objects=1, length=7).run(Policy("look", look), VOS)
    assert [contest.seen.tolist() for contest in seen] == [[0], [1], [2], [3], [4], [5]]
    assert seen[-1].pinned
    assert seen[-1].scores is None
    random_history(0, objects=1, length=2).run(Policy("look", look, compares="key"), PREDICTION)
    assert not seen[-1].pinned
    assert seen[-1].scores is not None
    assert seen[-1].scores.shape == (1, 5)


@settings(max_examples=20, deadline=None)
@given(histories(), st.sampled_from(LAYOUTS), st.sampled_from(["dot", "l2"]))
def test_a_read_sees_the_occupied_slots_and_no_other(
    history: History, layout: MemoryLayout, similarity: str
) -> None:
    memory = history.run(get_policy("oldest"), layout)[-1]
    query = history.templates[0].key + 1
    frames = memory.frame_index.tolist()
    for o, row in enumerate(frames):
        held = [history.templates[frame] for frame in sorted(row, reverse=True) if frame >= 0]
        key, value = (torch.cat([getattr(t, n)[o : o + 1] for t in held], dim=1) for n in ("key", "value"))
        expected = space_time_read(
            query[o : o + 1], key, value, similarity=similarity, scale=0.7, method="dense"
        )
        readout = memory.read(query, similarity=similarity, scale=0.7)
        torch.testing.assert_close(readout[o : o + 1], expected)


@settings(max_examples=20, deadline=None)
@given(histories(), st.sampled_from([VOS, *LAYOUTS[3:5]]), st.sampled_from(["dot", "l2"]))
def test_each_part_is_read_by_itself_and_an_empty_one_as_the_permanent_slot(
    history: History, layout: MemoryLayout, similarity: str
) -> None:
    query = history.templates[0].key + 1
    for memory in history.run(get_policy("oldest"), layout):
        parts = read_separately(memory, query, similarity=similarity, scale=0.7).chunk(3, dim=-1)
        bounds = (0, 1, layout.first_chosen, memory.slots)
        for part, readout in enumerate(parts):
            for o, row in enumerate(memory.frame_index.tolist()):
                frames = [frame for frame in row[bounds[part] : bounds[part + 1]] if frame >= 0] or row[:1]
                held = [history.templates[frame] for frame in frames]
                key, value = (
                    torch.cat([getattr(t, n)[o : o + 1] for t in held], dim=1) for n in ("key", "value")
                )
                expected = space_time_read(
                    query[o : o + 1], key, value, similarity=similarity, scale=0.7, method="dense"
                )
                torch.testing.assert_close(readout[o : o + 1], expected)


@settings(max_examples=20, deadline=None)
@given(histories(), st.sampled_from([VOS, *LAYOUTS[3:5]]))
def test_the_target_models_are_fitted_to_the_permanent_slot_and_to_all_of_them(
    history: History, layout: MemoryLayout
) -> None:
    query = history.templates[-1].key * 2
    for memory in history.run(get_policy("oldest"), layout):
        first, every = read_target(memory, query).chunk(2, dim=-1)
        for o, row in enumerate(memory.frame_index.tolist()):
            given, *others = [history.templates[f].moments[o : o + 1] for f in row if f >= 0]
            expected = given + sum(others) / len(others) if others else given
            torch.testing.assert_close(first[o : o + 1], query[o : o + 1] @ target_fit(given))
            torch.testing.assert_close(every[o : o + 1], query[o : o + 1] @ target_fit(expected))


def test_autocast_does_not_round_what_a_target_model_is_fitted_to() -> None:
    history = random_history(0, objects=2, length=4)
    tensors = history.run(get_policy("oldest"), VOS)[-1].tensors().items()
    # Autocast leaves float64 alone, of which the templates are.
    memory = SlotMemory(VOS, **{name: t.float() if t.is_floating_point() else t for name, t in tensors})
    query = history.templates[0].key.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = read_target(memory, query)
    assert torch.equal(found, read_target(memory, query))


def test_a_target_model_needs_moments_and_a_permanent_slot() -> None:
    history = random_history(0, objects=1, length=2)
    query = history.templates[0].key
    for memory in (
        history.run(get_policy("oldest"), PREDICTION)[-1],
        replace(history.run(get_policy("oldest"), VOS)[-1], moments=None),
    ):
        with pytest.raises(ValueError, match="moments and a permanent slot"):
            read_target(memory, query)


def test_parts_need_a_permanent_slot() -> None:
    history = random_history(0, objects=1, length=2)
    memory = history.run(get_policy("oldest"), PREDICTION)[-1]
    with pytest.raises(ValueError, match="permanent"):
        read_separately(memory, history.templates[0].key)


@every_policy
@settings(max_examples=6, deadline=None)
@given(history=histories(), layout=st.sampled_from([VOS, PREDICTION]), pause=st.integers(0, 11))
def test_a_memory_saved_to_bytes_and_restored_goes_on_as_before(
    policy: Policy, history: History, layout: MemoryLayout, pause: int
) -> None:
    generators = [torch.Generator().manual_seed(9) for _ in range(2)]
    with torch.inference_mode():
        memory = SlotMemory.of_first_frame(history.templates[0], 0, layout)
        restored = copy_of(memory)
        for frame in range(1, history.length):
            if frame == pause:
                restored = SlotMemory(layout, **load(save(memory.tensors())))
            memory, restored = (
                m.update(history.templates[frame], frame, policy, generator=g)
                for m, g in zip((memory, restored), generators, strict=True)
            )
        assert_same_memory(memory, restored)


@pytest.mark.parametrize(
    ("layout", "slots", "latest", "chosen"),
    [
        (MemoryLayout(), 6, 1, 2),
        (MemoryLayout(False, False, 5), 5, 0, 0),
        (MemoryLayout.of_slots(3), 3, 1, 2),
        (MemoryLayout(False, True, 1), 2, 0, 1),
    ],
)
def test_a_layout_counts_its_slots_in_the_order_permanent_latest_chosen(
    layout: MemoryLayout, slots: int, latest: int, chosen: int
) -> None:
    assert (layout.slots, layout.latest_slot, layout.first_chosen) == (slots, latest, chosen)


@pytest.mark.parametrize("arguments", [(False, False, 0), (True, True, -1)])
def test_a_layout_without_a_slot_is_refused(arguments: tuple[bool, bool, int]) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        MemoryLayout(*arguments)
    with pytest.raises(ValueError, match="at least one slot"):
        MemoryLayout.of_slots(1)


def test_the_precision_of_the_first_template_stays() -> None:
    history = random_history(0, objects=2, length=8)
    half = [type(t)(*(x.to(torch.bfloat16) for x in t)) for t in history.templates]
    for grad in (False, True):
        history.templates[:] = [half[0], *[type(t)(*(x.float() for x in t)) for t in half[1:]]]
        memory = history.run(get_policy("learned"), VOS, grad=grad)[-1]
        assert {memory.key.dtype, memory.value.dtype, memory.update_key.dtype} == {torch.bfloat16}


def _of(template: Template, index: int) -> Template:
    """One object of a template."""
    return Template(*(tensor[index : index + 1] for tensor in template))
