"""A moved frame: what its places and weights say, by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from stremn.errors import StremnError
from stremn.models import create_model
from stremn.models.slot_predictor import DRAWN, SPACING, STILL, Moved


def still(side: int = 3, cell: int = 1) -> Moved:
    """Foresees the same everywhere: what its biases say; draws nothing."""
    layer = Moved(4, side, cell)
    nn.init.zeros_(layer.places.weight)
    nn.init.zeros_(layer.share.weight)
    nn.init.constant_(layer.share.bias, -1e4)
    return layer


def only(layer: Moved, dx: float, dy: float) -> Moved:
    """All places of every pixel at one displacement."""
    with torch.no_grad():
        layer.places.bias.zero_()
        layer.places.bias[: 2 * layer.count] = torch.tensor([dx, dy]).repeat(layer.count)
    return layer


def run(layer: Moved, last: Tensor) -> Tensor:
    batch, channels, height, width = last.shape
    x = torch.zeros(batch, 4, height, width)
    return layer(x, last, torch.zeros(batch, channels, height, width)).detach()


@pytest.mark.parametrize("cell", [1, 2])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (-4, 1)])
def test_a_whole_shift_looks_up_the_pixel_there(dx: int, dy: int, cell: int) -> None:
    last = torch.rand(2, 3, 12, 16)
    found = run(only(still(cell=cell), dx, dy), last)
    rows = (torch.arange(12) + dy).clamp(0, 11)
    columns = (torch.arange(16) + dx).clamp(0, 15)
    torch.testing.assert_close(found, last[:, :, rows][:, :, :, columns], atol=1e-5, rtol=0)


def test_half_a_pixel_is_the_mean_of_two() -> None:
    last = torch.rand(1, 1, 6, 8)
    found = run(only(still(), 0.5, 0), last)
    torch.testing.assert_close(found[..., :-1], (last[..., :-1] + last[..., 1:]) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("start", "centre"), [(True, STILL), (False, 0.0)])
def test_places_start_as_a_square_around_the_pixel(start: bool, centre: float) -> None:
    layer = Moved(4, 3, 1, still=start)
    nn.init.zeros_(layer.places.weight)
    nn.init.zeros_(layer.share.weight)
    # A ramp tells where each place is; nothing in it is lost by reading between pixels.
    last = torch.arange(16.0).expand(1, 1, 16, 16) / 16
    seen = (8 + torch.tensor([-SPACING, 0, SPACING]).repeat(3)) / 16
    weights = torch.ones(9)
    weights[4] = math.exp(centre)
    share = 1 / (1 + math.exp(-DRAWN))
    found = run(layer, last)[0, 0, 8, 8]
    moved = (weights / weights.sum() * seen).sum()
    torch.testing.assert_close(found, moved + share * (0.5 - moved))


def test_the_share_that_is_drawn() -> None:
    layer = only(still(), 0, 0)
    with torch.no_grad():
        layer.share.bias.fill_(0)
    last = torch.ones(1, 1, 4, 4)
    drawn = torch.full_like(last, -1e4)
    torch.testing.assert_close(layer(torch.zeros(1, 4, 4, 4), last, drawn), torch.full_like(last, 0.5))


@given(scale=st.floats(0, 30), seed=st.integers(0, 1000), cell=st.sampled_from([1, 2]))
def test_no_frame_leaves_its_range(scale: float, seed: int, cell: int) -> None:
    torch.manual_seed(seed)
    layer = Moved(4, 3, cell)
    x, last = scale * torch.randn(1, 4, 8, 8), torch.rand(1, 1, 8, 8)
    found = layer(x, last, scale * torch.randn(1, 1, 8, 8))
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    # Without what is drawn, a frame also stays within the darkest and brightest pixel of the last one.
    with torch.no_grad():
        layer.share.weight.zero_()
        layer.share.bias.fill_(-1e4)
    moved = layer(x, last, torch.zeros(1, 1, 8, 8))
    assert moved.min() >= last.min() - 1e-6
    assert moved.max() <= last.max() + 1e-6


@pytest.mark.parametrize("motion", [2, -1, 17])
def test_a_square_without_a_centre_is_refused(motion: int) -> None:
    with pytest.raises(StremnError, match="motion must be"):
        create_model("stremn-predict", motion=motion)
