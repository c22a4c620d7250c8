"""Layers that models share."""

import pytest
import torch
from torch import Tensor

from stremn.models.layers import ResidualBlock, concatenate


def maps(objects: int) -> dict[str, Tensor]:
    wide, one = torch.randn(objects, 6, 4, 5), torch.randn(objects, 1, 4, 5)
    tokens = torch.randn(objects, 20, 8)[..., 2:5]
    return {
        "plain": wide,
        "channels last": wide.contiguous(memory_format=torch.channels_last),
        "expanded": torch.randn(1, 3, 4, 5).expand(objects, -1, -1, -1),
        "single": one,
        "tokens": tokens.transpose(1, 2).unflatten(2, (4, 5)),
    }


@pytest.mark.parametrize("objects", [1, 3])
@pytest.mark.parametrize("first", ["plain", "channels last", "expanded", "single", "tokens"])
@pytest.mark.parametrize("second", ["plain", "channels last", "expanded", "single", "tokens"])
def test_maps_of_any_layout_are_put_together_channels_last(first: str, second: str, objects: int) -> None:
    parts = [maps(objects)[first], maps(objects)[second]]
    together = concatenate(parts)
    assert torch.equal(together, torch.cat(parts, dim=1))
    assert together.is_contiguous(memory_format=torch.channels_last)


def test_a_residual_block_leaves_its_input_alone_and_passes_gradients() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(4).double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    before = x.detach().clone()
    expected = x + block.second(block.first(x.relu()).relu())
    assert torch.equal(block(x), expected)
    assert torch.equal(x.detach(), before)
    assert torch.autograd.gradcheck(block, x)
