"""What every registered prediction model must do; a new one is tested the day it is registered."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_models import fill_added
from stremn.errors import StremnError
from stremn.models import (
    PREDICTORS,
    Predictor,
    PredictorState,
    Segmenter,
    as_model,
    create_model,
    from_pretrained,
    save_pretrained,
)
from stremn.models.predictor import to_unit_range
from stremn.runtime import for_inference

SMALL: dict[str, dict[str, Any]] = {
    "stremn-predict": {"widths": (16, 16, 32, 32, 32, 32), "key_dim": 16, "value_dim": 32, "update_dim": 16},
    "stremn-motion": {"width": 4, "key_dim": 8, "update_dim": 8},
    "convlstm": {"hidden": (16, 8, 8)},
    "predrnn": {"hidden": (8,) * 4},
    "simvp-small": {"spatial": 4, "temporal": 16, "blocks": 1},
}
"""The published sizes, made narrow: what is asked here does not depend on the width."""


def make(name: str, **changes: Any) -> Predictor:
    torch.manual_seed(0)
    return fill_added(create_model(name, **(SMALL.get(name, {}) | changes)))


@pytest.fixture(scope="module", params=PREDICTORS)
def model(request: pytest.FixtureRequest) -> Predictor:
    return make(request.param).eval()


def clip(model: Predictor, batch: int = 2, length: int = 4, seed: int = 1) -> torch.Tensor:
    """``(B, T, C, h, w)`` with sides of two and three strides."""
    generator = torch.Generator().manual_seed(seed)
    size = (2 * model.stride, 3 * model.stride)
    return torch.rand((batch, length, model.config.channels, *size), generator=generator)


def forecast(model: Predictor, frames: torch.Tensor, horizon: int, rules: Any = None) -> torch.Tensor:
    """``(B, N, C, h, w)``: every next frame follows from the prediction before it."""
    state = None
    for frame in frames.unbind(1):
        state = model.observe(frame, state, rules)
    found = []
    for _ in range(horizon):
        found.append(model.predict(state))
        state = model.follow(found[-1], state, rules)
    return torch.stack(found, dim=1)


@torch.no_grad()
def test_the_verbs_give_frames_in_range_and_a_state_of_one_shape(model: Predictor) -> None:
    frames = clip(model)
    state, shapes = None, []
    for frame in frames.unbind(1):
        state = model.observe(frame, state)
        found = model.predict(state)
        assert found.shape == frame.shape
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert found.max() <= 1
        shapes.append({name: (t.shape, t.dtype) for name, t in state.tensors().items()})
    assert all(s == shapes[0] for s in shapes)
    assert state.nbytes == sum(t.numel() * t.element_size() for t in state.tensors().values()) > 0


@torch.no_grad()
def test_a_video_is_foreseen_alike_alone_and_among_others(model: Predictor) -> None:
    frames = clip(model, batch=3, length=7)
    together = forecast(model, frames, 3)
    alone = torch.cat([forecast(model, frames[i : i + 1], 3) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_what_is_foreseen_depends_on_every_observed_frame(model: Predictor) -> None:
    frames = clip(model, batch=1)
    expected = forecast(model, frames, 1)
    for t in range(frames.shape[1]):
        other = frames.clone()
        other[:, t] = 1 - other[:, t]
        assert not torch.allclose(forecast(model, other, 1), expected, atol=1e-7)


@torch.no_grad()
def test_with_a_readout_of_zero_it_does_not_matter_what_the_memory_holds(model: Predictor) -> None:
    if model.rules() is None:
        pytest.skip("has no memory")
    # The first frame is in memory to the end, and all else that is carried has nearly forgotten it by then.
    rules = model.rules(slots=2, policy="first-and-last")
    one = clip(model, length=32)
    one = 0.7 * one[:, :1] + 0.3 * one  # so little motion that what slots show is in the frame
    other = torch.cat([1 - one[:, :1], one[:, 1:]], dim=1)
    read, zeroed = (
        (forecast(model, one, 3, way) - forecast(model, other, 3, way)).abs().max()
        for way in (rules, replace(rules, readout=False))
    )
    assert zeroed < min(1e-3, read / 2)


@torch.no_grad()
def test_predicting_twice_gives_the_same_and_leaves_the_state(model: Predictor) -> None:
    state = model.observe(clip(model)[:, 0])
    before = {name: t.clone() for name, t in state.tensors().items()}
    assert torch.equal(model.predict(state), model.predict(state))
    assert all(torch.equal(t, before[name]) for name, t in state.tensors().items())


@torch.no_grad()
def test_a_copied_state_is_not_written_by_the_original(model: Predictor) -> None:
    frames = clip(model)
    state = model.observe(frames[:, 0])
    copy = state.copy()
    before = {name: t.clone() for name, t in copy.tensors().items()}
    for frame in frames[:, 1:].unbind(1):
        state = model.observe(frame, state)
    assert all(torch.equal(t, before[name]) for name, t in copy.tensors().items())
    layout = None if copy.memory is None else copy.memory.layout
    again = PredictorState.of(copy.tensors(), layout)
    assert torch.equal(model.predict(again), model.predict(copy))


@pytest.mark.parametrize("name", PREDICTORS)
def test_gradients_through_a_forecast_reach_every_parameter(name: str) -> None:
    model = make(name).train()
    rules = None
    if model.rules() is not None:
        # Two slots, five observed frames: the learned choice has contests to learn from.
        rules = replace(model.rules(slots=2), noise=True)
    found = forecast(model, clip(model, batch=1, length=5), 2, rules)
    (found * torch.randn_like(found)).sum().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@torch.no_grad()
def test_with_and_without_gradients_the_same_is_computed(model: Predictor) -> None:
    frames = clip(model, length=7)
    inference = forecast(model, frames, 2)
    with torch.enable_grad():
        training = forecast(model, frames, 2)
    torch.testing.assert_close(training.detach(), inference, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_model_keeps_no_state(model: Predictor) -> None:
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    frames = clip(model)
    first = forecast(model, frames, 2)
    forecast(model, 1 - frames, 1)
    assert torch.equal(forecast(model, frames, 2), first)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes


@torch.no_grad()
def test_frames_that_do_not_fit_are_refused(model: Predictor) -> None:
    channels, stride = model.config.channels, model.stride
    for shape in (
        (1, 4 - channels, 2 * stride, 2 * stride),
        (channels, 2 * stride, 2 * stride),
        (1, channels, 2 * stride + 1, 2 * stride),
        (1, channels, 2 * stride, stride + 1),
    ):
        with pytest.raises(ValueError, match=r"expected frames|not divisible"):
            model.observe(torch.rand(shape))


@torch.no_grad()
def test_the_copy_for_inference_computes_the_same(model: Predictor) -> None:
    ready = for_inference(model, torch.device("cpu"), torch.float32)
    frames = clip(model)
    torch.testing.assert_close(forecast(ready, frames, 2), forecast(model, frames, 2), rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in ready.parameters())


@pytest.mark.parametrize("ready", [False, True])
@torch.no_grad()
def test_under_autocast_the_result_is_close_and_the_state_keeps_its_types(
    model: Predictor, ready: bool
) -> None:
    frames = clip(model, length=7)
    # As in training, and as in a session, where convolutions keep their weights in half precision.
    used = for_inference(model, torch.device("cpu"), torch.bfloat16) if ready else model
    with torch.autocast("cpu", torch.bfloat16):
        half = forecast(used, frames, 2)
        state = used.observe(frames[:, 0])
        types = {name: t.dtype for name, t in state.tensors().items()}
        state = used.observe(frames[:, 1], state)
    assert {name: t.dtype for name, t in state.tensors().items()} == types
    assert half.dtype == torch.float32
    assert (half - forecast(model, frames, 2)).abs().mean() < 0.02


@pytest.mark.parametrize("name", PREDICTORS)
def test_what_is_saved_is_what_is_loaded(name: str, tmp_path: Path) -> None:
    model = make(name)
    loaded = from_pretrained(save_pretrained(model, tmp_path))
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    own, other = model.state_dict(), loaded.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[n], other[n]) for n in own)


def test_a_model_of_the_other_task_is_refused(tmp_path: Path) -> None:
    predictor = make("convlstm-small")
    path = save_pretrained(predictor, tmp_path / "p.safetensors")
    for source in (predictor, path, str(path)):
        assert isinstance(as_model(source, Predictor), Predictor)
        with pytest.raises(StremnError, match="ConvLSTM where a Segmenter is needed") as caught:
            as_model(source, Segmenter)
        assert "\n" not in str(caught.value)
    with pytest.raises(StremnError, match="LiteSegmenter where a Predictor is needed"):
        as_model(create_model("stremn-lite"), Predictor)


def test_only_models_with_slots_have_rules() -> None:
    rules = make("stremn-predict").rules(slots=3, policy="oldest")
    assert (rules.layout.slots, rules.layout.first_chosen, rules.policy.name) == (3, 0, "oldest")
    recurrent = make("predrnn")
    assert recurrent.rules() is None
    for asked in ({"slots": 3}, {"policy": "oldest"}):
        with pytest.raises(StremnError, match="no memory slots"):
            recurrent.rules(**asked)


def test_the_gradient_of_the_clamp_only_leads_back_into_the_range() -> None:
    for sign, expected in ((1, [0, 1, 1, 1, 1]), (-1, [-1, -1, -1, -1, 0])):
        x = torch.tensor([-0.5, 0.0, 0.25, 1.0, 3.0], requires_grad=True)
        y = to_unit_range(x)
        assert torch.equal(y, torch.tensor([0.0, 0.0, 0.25, 1.0, 1.0]))
        # A step of descent goes against the gradient.
        (sign * y).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == expected


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("stremn-predict", {"channels": 2}, "channels"),
        ("stremn-predict", {"stack": 0}, "stack"),
        ("stremn-predict", {"widths": (8, 8)}, "widths"),
        ("stremn-predict", {"widths": (8, 8, 8, 8, 8, 0)}, "widths"),
        ("stremn-predict", {"strides": (1, 2, 1, 2, 1, 8)}, "strides"),
        ("stremn-predict", {"slots": 0}, "slots"),
        ("stremn-predict", {"policy": "best"}, "best"),
        ("stremn-predict", {"similarity": "cosine"}, "cosine"),
        ("stremn-predict", {"scale": "large"}, "scale"),
        ("stremn-predict", {"size": -1}, "size"),
        ("stremn-predict", {"hidden": (8,)}, "hidden"),
        ("stremn-predict", {"architecture": "lite"}, "no architecture"),
        ("convlstm", {"hidden": ()}, "hidden"),
        ("convlstm", {"hidden": 8}, "hidden"),
        ("convlstm", {"kernel": 4}, "kernel"),
        ("convlstm", {"patch": 0}, "patch"),
        ("predrnn", {"hidden": (8, 16)}, "hidden"),
    ],
)
def test_configs_that_no_model_can_be_built_from_are_refused(
    name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(StremnError, match=words) as caught:
        create_model(name, **changes)
    assert "\n" not in str(caught.value)


def test_what_ships_stays_within_eight_megabytes() -> None:
    # Files that ship are 16 bit.
    shipped = ("stremn-predict-mnist", "stremn-motion")
    count = sum(p.numel() for name in shipped for p in create_model(name).parameters())
    assert 2 * count < 8e6
