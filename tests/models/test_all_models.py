"""What every registered model must do; a new one is tested the day it is registered."""

import pytest
import torch
from torch import nn

from small_models import fill_added
from stremn.data import Clip
from stremn.memory import MemoryLayout, Rules, SlotMemory, get_policy
from stremn.models import MODELS, SegmentationState, Segmenter, create_model
from stremn.runtime import for_inference
from stremn.training.segmentation.segment_clip import segment_clip

HEIGHT, WIDTH = 64, 96


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Segmenter:
    torch.manual_seed(0)
    return create_model(request.param).eval()


@torch.no_grad()
def test_the_verbs_give_the_documented_shapes(model: Segmenter) -> None:
    frames = torch.rand(2, 3, HEIGHT, WIDTH)
    config, positions = model.config, HEIGHT // 16 * WIDTH // 16
    features = model.encode_image(frames)
    assert features.grid == (HEIGHT // 16, WIDTH // 16)
    assert features.key.shape == (2, positions, config.key_dim)
    assert features.maps[0].shape[-2:] == (HEIGHT // 4, WIDTH // 4)
    template = model.encode_template(features, torch.rand(4, 1, HEIGHT // 4, WIDTH // 4))
    widths = (config.key_dim, config.value_dim, config.update_dim)
    shapes = [tuple(t.shape) for t in template]
    assert shapes[:3] == [(4, positions, width) for width in widths]
    channels = config.key_dim + features.maps[-1].shape[1] + 1
    moments = (4, channels, channels + config.value_dim + 2)
    own = {"lite": [moments], "stm": [(4, positions, config.update_dim)]}
    assert shapes[3:] == own[config.architecture]
    memory = SlotMemory.of_first_frame(template, 0, config.layout)
    assert memory.slots == config.slots
    readout = model.read(features, memory)
    assert readout.shape[:2] == (4, positions)
    stride = {"lite": 4, "stm": 1}[config.architecture]
    assert features.logit_size == (HEIGHT // stride, WIDTH // stride)
    previous = torch.rand(4, 1, *features.logit_size)
    logits = model.decode(features, readout, model.guidance(previous, features))
    assert logits.shape == previous.shape
    state = SegmentationState(memory, previous)
    assert torch.equal(model.segment(features, state), logits)
    assert torch.equal(model.segment(features, state, guide=False), model.decode(features, readout))


@torch.no_grad()
def test_a_batch_of_frames_gives_what_each_frame_gives_alone(model: Segmenter) -> None:
    frames, masks = torch.rand(2, 3, HEIGHT, WIDTH), torch.rand(4, 1, HEIGHT, WIDTH)

    def run(frames: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        features = [model.encode_image(frames)]
        rules = Rules(model.config.layout, get_policy("learned"))
        logits, states = model.observe(features, (), rules, 0, given=[masks])
        assert logits == ()
        return model.observe(features, states, rules, 1)[0][0]

    together = run(frames, masks)
    alone = [run(frames[i : i + 1], masks[2 * i : 2 * i + 2]) for i in (0, 1)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_aggregate_keeps_the_frames_apart_and_sums_to_at_most_one(model: Segmenter) -> None:
    logits = torch.randn(6, 1, 4, 5) * 5
    both = model.aggregate(logits, 2)
    each = torch.cat([model.aggregate(part) for part in logits.split(3)])
    torch.testing.assert_close(both, each)
    assert (both.unflatten(0, (2, 3)).sum(dim=1) <= 1 + 1e-5).all()


@torch.no_grad()
def test_the_model_keeps_no_state(model: Segmenter) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    frames = torch.rand(2, 1, 3, HEIGHT, WIDTH)
    first = model.encode_image(frames[0]).key
    model.encode_image(frames[1])
    assert torch.equal(model.encode_image(frames[0]).key, first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes


def moving_squares(length: int) -> Clip:
    labels = torch.zeros(1, length, HEIGHT, WIDTH, dtype=torch.long)
    for t in range(length):
        labels[:, t, 10:40, 10 + 4 * t : 50 + 4 * t] = 1
        labels[:, t, 40:60, 50:90] = 2
    return Clip(torch.rand(1, length, 3, HEIGHT, WIDTH), labels, torch.tensor([[True, True]]))


def without_zero_branches(model: Segmenter) -> None:
    """timm starts the last norm of every residual branch at zero, which stops gradients into the branch."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.ones_(module.weight)
    fill_added(model)


def parameters_without_gradient(name: str, layout: MemoryLayout, length: int) -> list[str]:
    torch.manual_seed(0)
    model = create_model(name).train()
    without_zero_branches(model)
    logits = segment_clip(model, moving_squares(length), Rules(layout, get_policy("learned"), noise=True))
    assert logits.shape[:3] == (1, length - 1, 2)
    (logits * torch.randn_like(logits)).sum().backward()
    return [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter_where_the_policy_chooses_among_two(name: str) -> None:
    # Three contenders for two chosen slots in five frames; with a latest slot it would take six.
    assert parameters_without_gradient(name, MemoryLayout(latest=False, chosen=2), 5) == []


def test_one_chosen_slot_teaches_the_update_key_nothing() -> None:
    # Eq. (3) over one slot is 1, whatever the score: a recipe that is to train the policy needs two.
    missing = parameters_without_gradient("stremn-lite", MemoryLayout(chosen=1), 5)
    assert missing == ["update_key.weight", "update_key.bias"]


def test_batch_norm_keeps_its_statistics_in_training() -> None:
    torch.manual_seed(0)
    model = create_model("stremn-lite").train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    model.encode_image(torch.rand(2, 3, HEIGHT, WIDTH))
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())


@torch.no_grad()
def test_the_copy_for_inference_computes_the_same_and_leaves_the_model_alone(model: Segmenter) -> None:
    state = {n: t.clone() for n, t in model.state_dict().items()}
    ready = for_inference(model, torch.device("cpu"), torch.float32)
    frames, masks = torch.rand(1, 3, HEIGHT, WIDTH), torch.ones(1, 1, HEIGHT, WIDTH)

    def run(network: Segmenter) -> torch.Tensor:
        features = network.encode_image(frames)
        rules = Rules(model.config.layout, get_policy("learned"))
        return network.segment(features, network.observe([features], (), rules, 0, given=[masks])[1][0])

    torch.testing.assert_close(run(ready), run(model), rtol=1e-3, atol=1e-4)
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert not any(p.requires_grad for p in ready.parameters())


@torch.no_grad()
def test_a_new_lite_decodes_the_latest_template_alone() -> None:
    torch.manual_seed(0)
    model = create_model("stremn-lite").eval()
    features, rules = (
        [model.encode_image(torch.rand(1, 3, HEIGHT, WIDTH))],
        Rules(model.config.layout, get_policy("learned")),
    )
    masks = [torch.rand(1, 1, HEIGHT, WIDTH) for _ in range(3)]
    _, states = model.observe(features, (), rules, 0, given=masks[:1])
    for t in (1, 2):
        _, states = model.observe(
            features,
            states,
            rules,
            t,
            settle=lambda _, t=t: [model.resize(masks[t], (HEIGHT // 4, WIDTH // 4))],
        )
    latest = SlotMemory.of_first_frame(
        model.encode_template(features[0], masks[2]), 2, MemoryLayout(chosen=0, latest=False)
    )
    expected = model.segment(features[0], SegmentationState(latest, states[0].previous))
    torch.testing.assert_close(model.segment(features[0], states[0]), expected)
