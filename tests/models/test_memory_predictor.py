"""The paper's prediction network (Sec. 4.2), part by part."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from stremn.memory import POLICIES, SlotMemory, Template
from stremn.models import PredictorState, create_model
from stremn.models.slot_predictor import Block, MemoryPredictor


def small(**changes: Any) -> MemoryPredictor:
    torch.manual_seed(0)
    sizes = {"widths": (8, 8, 16, 16, 16, 16), "key_dim": 8, "value_dim": 12, "update_dim": 8}
    return create_model("stremn-predict", **(sizes | changes)).eval()


def observed(model: MemoryPredictor, count: int, rules: Any = None) -> PredictorState:
    generator = torch.Generator().manual_seed(2)
    state = None
    for _ in range(count):
        frame = torch.rand((1, model.config.channels, 16, 24), generator=generator)
        state = model.observe(frame, state, rules)
    assert state is not None
    return state


def test_encoder_and_decoder_have_six_blocks_of_two_convolutions_norm_and_leaky_relu() -> None:
    model = create_model("stremn-predict")
    for blocks, kind in ((model.encoder, nn.Conv2d), (model.decoder.blocks, nn.ConvTranspose2d)):
        assert len(blocks) == 6
        for block in blocks:
            assert isinstance(block, Block)
            assert type(block.first) is type(block.second) is kind
            assert isinstance(block.norm, nn.GroupNorm)
    assert model.config.slots == model.config.layout.slots == model.config.layout.chosen == 5
    assert (model.config.stack, model.config.policy, model.config.skip) == (3, "learned", False)


@torch.no_grad()
def test_the_stack_is_the_last_three_frames_and_the_first_is_repeated() -> None:
    model = small(channels=1)
    frames = [torch.full((1, 1, 16, 24), value) for value in (0.1, 0.2, 0.3, 0.4)]
    state, seen = None, []
    for frame in frames:
        state = model.observe(frame, state)
        seen.append(state.carried["recent"][0, :, 0, 0].tolist())
    expected = [[0.1, 0.1, 0.1], [0.1, 0.1, 0.2], [0.1, 0.2, 0.3], [0.2, 0.3, 0.4]]
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))


@torch.no_grad()
def test_a_stack_is_looked_up_in_the_templates_before_it() -> None:
    model = small()
    state = observed(model, 3)
    memory = state.copy().memory
    keys: list[torch.Tensor] = []
    model.key.register_forward_hook(lambda module, given, key: keys.append(key))
    after = model.observe(torch.rand(1, 3, 16, 24), state.copy())
    query = keys[0].flatten(2).transpose(1, 2)
    readout = memory.read(query, similarity="dot")
    torch.testing.assert_close(after.carried["readout"].flatten(2).transpose(1, 2), readout)
    # The template that is written is the query's own: one encoder for both.
    torch.testing.assert_close(after.memory.key[:, 3], query)
    assert after.memory.frame_index.tolist() == [[0, 1, 2, 3, -1]]


@torch.no_grad()
def test_the_first_stack_finds_nothing_but_itself() -> None:
    model = small()
    state = observed(model, 1)
    template = Template(state.memory.key[:, 0], state.memory.value[:, 0], state.memory.update_key[:, 0])
    alone = SlotMemory.of_first_frame(template, 0, model.config.layout)
    readout = alone.read(template.key)
    torch.testing.assert_close(state.carried["readout"].flatten(2).transpose(1, 2), readout)
    assert state.memory.frame_index.tolist() == [[0, -1, -1, -1, -1]]


@pytest.mark.parametrize("policy", [n for n, p in POLICIES.items() if p.bounded])
@torch.no_grad()
def test_the_memory_never_holds_more_than_its_slots(policy: str) -> None:
    model = small()
    rules = model.rules(slots=3, policy=policy)
    sizes = set()
    for count in (1, 3, 9):
        state = observed(model, count, rules)
        sizes.add(state.nbytes)
        assert state.memory.slots == 3
        held = [i for i in state.memory.frame_index[0].tolist() if i >= 0]
        assert len(held) == len(set(held)) == min(count, 3 if policy != "first-and-last" else 2)
    assert len(sizes) == 1


@torch.no_grad()
def test_the_order_of_the_slots_does_not_matter() -> None:
    model = small()
    state = observed(model, 8)
    order = torch.tensor([3, 1, 4, 0, 2])
    tensors = state.copy().tensors()
    for name in ("key", "value", "update_key", "frame_index"):
        tensors[f"memory.{name}"] = tensors[f"memory.{name}"][:, order]
    shuffled = PredictorState.of(tensors, model.config.layout)
    frame = torch.rand(1, 3, 16, 24)
    one, two = model.observe(frame, state), model.observe(frame, shuffled)
    torch.testing.assert_close(model.predict(one), model.predict(two))
    assert set(one.memory.frame_index[0].tolist()) == set(two.memory.frame_index[0].tolist())


@torch.no_grad()
def test_the_decoder_sees_the_encoder_only_through_memory_and_value_unless_asked() -> None:
    state = observed(small(), 2)
    assert set(state.carried) == {"recent", "frame_index", "readout", "value"}
    model = small(skip=True)
    state = observed(model, 2)
    fine = {name: t for name, t in state.carried.items() if name.startswith("fine.")}
    # Blocks 1, 3 and 5 halve the resolution; the decoder meets their inputs where it doubles it.
    assert {name: tuple(t.shape[1:]) for name, t in fine.items()} == {
        "fine.1": (8, 16, 24),
        "fine.3": (16, 8, 12),
        "fine.5": (16, 4, 6),
    }
    before = model.predict(state)
    state.carried["fine.1"].add_(1)
    assert not torch.allclose(model.predict(state), before)


@pytest.mark.parametrize("strides", [(1,) * 6, (2, 1, 2, 1, 1, 1), (1, 4, 1, 1, 2, 1), (3, 1, 1, 1, 1, 1)])
@torch.no_grad()
def test_any_strides_give_back_the_frame_s_size(strides: tuple[int, ...]) -> None:
    model = small(strides=strides, skip=True)
    frame = torch.rand(1, 3, 2 * model.stride, 3 * model.stride)
    assert model.predict(model.observe(frame)).shape == frame.shape


@torch.no_grad()
def test_sampled_choices_follow_the_generator() -> None:
    model = small()

    def held(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        rules = replace(model.rules(slots=3), noise=True, generator=generator)
        return observed(model, 14, rules).memory.frame_index.tolist()

    assert held(3) == held(3)
    assert len({str(held(seed)) for seed in range(5)}) > 1
