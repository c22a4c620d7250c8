"""Packed convolutions give what plain ones give, and only those are packed that can be."""

import copy
import pickle
import platform

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stremn.models import create_model
from stremn.runtime import for_inference, packed
from stremn.runtime.packed import ACTIVATIONS, PackedConv2d, can_pack, pack
from stremn.sessions import SegmentationSession

SIZE = st.integers(1, 40)


def random_convolution(seed: int, groups: int, channels: int, **settings: int) -> nn.Conv2d:
    torch.manual_seed(seed)
    convolution = nn.Conv2d(groups * channels, 2 * groups, **settings, groups=groups)
    return convolution.to(memory_format=torch.channels_last).requires_grad_(False)


def test_on_the_machines_of_these_tests_convolutions_are_packed() -> None:
    """Otherwise every other test here would pass without having tested anything."""
    if platform.machine() in ("x86_64", "AMD64"):
        assert can_pack(torch.float32)
        model = SegmentationSession("stremn-lite", device="cpu", precision="fp32").model
        assert {type(m) for m in model.modules() if isinstance(m, nn.Conv2d)} == {PackedConv2d}
        # The activations of the backbone's batch norms have gone into the convolutions.
        assert not any(isinstance(m, nn.ReLU6) for m in model.backbone.modules())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 1, 3, 16]),
    st.integers(1, 20),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.lists(st.tuples(st.integers(1, 3), SIZE, SIZE), min_size=1, max_size=8),
    st.sampled_from([None, *ACTIVATIONS]),
    st.booleans(),
    st.sampled_from([dtype for dtype in (torch.float32, torch.bfloat16) if can_pack(dtype)]),
)
def test_the_result_is_the_same_at_every_size_whatever_came_before(
    seed: int,
    groups: int,
    channels: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    sizes: list[tuple[int, int, int]],
    activation: type[nn.Module] | None,
    channels_last: bool,
    dtype: torch.dtype,
) -> None:
    plain = random_convolution(
        *(seed, groups, channels),
        **{"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation},
    ).to(dtype)
    near = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.02}
    after = None if activation is None else activation()
    one = PackedConv2d(plain, after)
    reach = dilation * (kernel - 1) + 1
    layout = torch.channels_last if channels_last else torch.contiguous_format
    with torch.inference_mode():
        for batch, height, width in [*sizes, *reversed(sizes)]:
            x = torch.randn(batch, groups * channels, height + reach, width + reach)
            x = x.to(dtype).contiguous(memory_format=layout)
            expected = plain(x) if after is None else after(plain(x))
            got = one(x)
            torch.testing.assert_close(got, expected, **near)
            torch.testing.assert_close(got, PackedConv2d(plain, after)(x), **near)


def test_other_padding_may_be_given_with_the_input() -> None:
    plain = random_convolution(0, 8, 1, kernel_size=3, padding=1)
    x = torch.randn(1, 8, 9, 11)
    expected = nn.functional.conv2d(x, plain.weight, plain.bias, padding=(0, 1), groups=8)
    torch.testing.assert_close(PackedConv2d(plain)(x, padding=(0, 1)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_network_gives_what_a_plain_one_gives(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = create_model("stremn-lite").eval()
    frame = torch.rand(2, 3, 64, 96)
    results = []
    for packs in (False, True):
        ready = for_inference(model, torch.device("cpu"), dtype, packed=packs)
        assert any(isinstance(m, PackedConv2d) for m in ready.modules()) == (packs and can_pack(dtype))
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            results.append(ready.encode_image(frame))
    plain, together = results
    near = 1e-4 if dtype == torch.float32 else 0.05
    for a, b in zip((together.key, *together.maps), (plain.key, *plain.maps), strict=True):
        assert a.dtype == b.dtype
        assert (a - b).abs().mean() <= near * b.abs().mean()


def test_a_copy_works_too() -> None:
    one = PackedConv2d(random_convolution(0, 1, 4, kernel_size=3))
    x = torch.randn(1, 4, 8, 8)
    expected = one(x)
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert torch.equal(other(x), expected)


def test_packing_draws_no_random_numbers() -> None:
    """Training resumes bit for bit only if a validation, which packs, leaves the generator alone."""
    model = create_model("stremn-lite")
    before = torch.get_rng_state()
    assert can_pack.__wrapped__(torch.float32) == can_pack(torch.float32)
    for_inference(model, torch.device("cpu"), torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


class Doubled(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "convolution",
    [
        Doubled(2, 2, 3),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(2, 2, 3).half(),
        nn.Conv2d(2, 2, 3).double(),
        nn.Conv2d(2, 2, 3, device="meta"),
        nn.ConvTranspose2d(2, 2, 3),
    ],
    ids=["subclass", "same", "reflect", "half", "double", "meta", "transposed"],
)
def test_what_cannot_be_packed_stays_as_it_is(convolution: nn.Module) -> None:
    model = nn.Sequential(convolution, nn.ReLU())
    pack(model, [(model, "0", "1")])
    assert model[0] is convolution
    assert isinstance(model[1], nn.ReLU)


def test_an_activation_that_cannot_be_computed_along_stays() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.SiLU())
    x = torch.randn(1, 2, 5, 5)
    expected = model(x)
    pack(model, [(model, "0", "1")])
    assert isinstance(model[1], nn.SiLU)
    torch.testing.assert_close(model(x), expected)


def _missing(*_: object) -> torch.Tensor:
    raise AttributeError("no such operator")


def _refusing(*_: object) -> torch.Tensor:
    raise RuntimeError("wrong number of arguments")


def _wrong(x: torch.Tensor, *_: object) -> torch.Tensor:
    return torch.zeros(x.shape[0], 32, 5, 7)


@pytest.mark.parametrize("broken", [_missing, _refusing, _wrong])
def test_operators_that_fail_the_trial_are_not_used(broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "_convolve", lambda: broken)
    assert not can_pack.__wrapped__(torch.float32)
    monkeypatch.setattr(packed, "can_pack", can_pack.__wrapped__)
    session = SegmentationSession("stremn-lite", device="cpu", precision="fp32", size=64)
    assert not any(isinstance(m, PackedConv2d) for m in session.model.modules())
    frame, mask = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8)
    mask[20:40, 20:40] = 3
    assert session.step(frame, mask).object_ids == (3,)
    assert session.step(frame).labels.shape == (64, 96)


def test_a_session_that_compiles_is_not_packed() -> None:
    session = SegmentationSession("stremn-lite", device="cpu", precision="fp32", compile="eager")
    assert not any(isinstance(m, PackedConv2d) for m in session.model.modules())
