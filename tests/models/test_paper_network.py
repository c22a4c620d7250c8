"""The size of stremn-r50 against the paper and STM, and of stremn-lite against what we promise."""

from pathlib import Path

import pytest
import torch
from torch import nn

from stremn.models import create_model, save_pretrained


def conv(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True) -> int:
    return inputs * outputs * kernel**2 + bias * outputs


def residual(channels: int) -> int:
    return 2 * conv(channels, channels)


def trunk(inputs: int) -> int:
    """ResNet-50 up to stage 4 of the paper (stride 16), with scale and shift in every norm."""
    total = conv(inputs, 64, 7, bias=False) + 2 * 64
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6)):
        for block in range(blocks):
            total += conv(channels, width, 1, bias=False) + conv(width, width, 3, bias=False)
            total += conv(width, 4 * width, 1, bias=False) + 2 * (2 * width + 4 * width)
            if block == 0:
                total += conv(channels, 4 * width, 1, bias=False) + 2 * 4 * width
            channels = 4 * width
    return total


# Query trunk; memory trunk whose first layer also sees the mask and the other objects' mask; key (128) and
# value (512) of both; decoder of width 256: first convolution with a residual block, two refinements with the
# skips of stride 8 (512 channels) and stride 4 (256 channels), two logits (object and background).
PROJECTIONS = 2 * (conv(1024, 128) + conv(1024, 512))
SKIPS = (conv(512, 256) + residual(256)) + (conv(256, 256) + residual(256))
STM = trunk(3) + trunk(5) + PROJECTIONS
STM += conv(1024, 256) + residual(256) + SKIPS + 2 * residual(256) + conv(256, 2)

# Four branches of width 256 with bias-free convolutions and group norm (1x1, three dilated 3x3), the pooled
# one, and the fusion of all five.
ASPP = (
    2 * conv(1024, 256, 1, bias=False) + 3 * conv(1024, 256, bias=False) + conv(5 * 256, 256, 1, bias=False)
)
ASPP += 6 * 2 * 256

# What the paper adds: two layers of update keys (Eq. 1, width 128) and ASPP (Sec. 4.1.1). The decoder then
# starts from the 256 channels of ASPP, not from 1024, and one logit takes the place of two.
OURS_WITH_SKIPS = STM + 2 * conv(1024, 128) + ASPP - (conv(1024, 256) - conv(256, 256)) - conv(256, 1)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_stm_as_we_count_it_has_its_published_size() -> None:
    assert STM == 38_925_570  # "38.9 M"


def test_parameters_of_the_paper_network_are_accounted_for() -> None:
    with torch.device("meta"):
        plain, skips = create_model("stremn-r50"), create_model("stremn-r50", skip=True)
    assert count(skips) == OURS_WITH_SKIPS == 47_446_273
    # Sec. 3.3: no highway connections.
    assert count(plain) == OURS_WITH_SKIPS - SKIPS == 43_315_969
    assert count(plain.get_submodule("query_encoder")) == trunk(3) == 8_543_296
    assert count(plain.get_submodule("memory_encoder")) == trunk(5) == 8_543_296 + 2 * 64 * 49
    assert count(plain.get_submodule("aspp")) == ASPP == 7_932_928
    with torch.device("meta"):
        shared = create_model("stremn-r50", shared_update_key=True)
        fused = create_model("stremn-r50", fusion="least-similar")
    assert count(plain) - count(shared) == conv(1024, 128)
    # f, h and g over two templates side by side: key, value and both update keys.
    template = 128 + 512 + 2 * 128
    assert count(fused) - count(plain) == 3 * conv(2 * template, template)


def test_layers_of_the_paper_network() -> None:
    with torch.device("meta"):
        model = create_model("stremn-r50")
    modules = dict(model.named_modules())
    for name in ("query_key", "memory_key", "update_key", "contender_key"):
        assert modules[name].weight.shape == (128, 1024, 3, 3)
    for name in ("query_value", "memory_value"):
        assert modules[name].weight.shape == (512, 1024, 3, 3)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert [modules[f"aspp.dilated.{i}.0"].dilation for i in range(3)] == [(6, 6), (12, 12), (18, 18)]
    assert model.config.slots == 6
    assert not model.config.skip


def test_strides_of_the_paper_network() -> None:
    model = create_model("stremn-r50").eval()
    with torch.no_grad():
        maps = model.encode_image(torch.zeros(1, 3, 64, 96)).maps
    assert [tuple(m.shape) for m in maps] == [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6)]


def test_the_small_model_is_small(tmp_path: Path) -> None:
    model = create_model("stremn-lite")
    assert count(model) <= 6_000_000
    path = save_pretrained(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert path.stat().st_size <= 12_000_000


@pytest.mark.parametrize("skip", [False, True])
def test_the_skip_switch_decides_what_the_decoder_sees(skip: bool) -> None:
    with torch.device("meta"):
        small, large = create_model("stremn-lite", skip=skip), create_model("stremn-r50", skip=skip)
    assert (large.get_submodule("refine_eighth").skip is not None) is skip
    assert (small.get_submodule("decoder").skip_quarter is not None) is skip
