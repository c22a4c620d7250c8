"""Displacements: read, joined and measured."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.models.displacement import (
    affine_field,
    camera_motion,
    carried_on,
    compose,
    compose_affine,
    sample,
    seen_inside,
    velocity_between,
)


def constant(x: float, y: float, size: tuple[int, int] = (24, 32)) -> Tensor:
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, *size).contiguous()


def texture(size: tuple[int, int], seed: int = 0) -> Tensor:
    """A smooth random picture ``(1, 3, h, w)``, whose bilinear reading is close to the truth."""
    coarse = torch.rand((1, 3, size[0] // 4, size[1] // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=False).clamp(0, 1)


def test_whole_displacements_read_whole_pixels_and_the_edge_beyond() -> None:
    maps = texture((24, 32))
    assert torch.allclose(sample(maps, constant(0, 0)), maps, atol=1e-6)
    moved = sample(maps, constant(3, -2))
    torch.testing.assert_close(moved[:, :, 2:, :-3], maps[:, :, :-2, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        moved[:, :, 2:, -3:], maps[:, :, :-2, -1:].expand(-1, -1, -1, 3), atol=1e-5, rtol=0
    )


def test_between_pixels_maps_are_interpolated_linearly() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 24, 32)
    found = sample(ramp, constant(0.25, 0.5))
    torch.testing.assert_close(found[..., :-1], ramp[..., :-1] + 0.25)


def test_a_place_is_inside_up_to_the_outermost_pixels() -> None:
    inside = seen_inside(constant(-2, 1))[0, 0]
    expected = torch.zeros(24, 32)
    expected[:-1, 2:] = 1
    assert torch.equal(inside, expected)


def test_steps_of_a_constant_velocity_add_up_to_the_direct_displacement() -> None:
    velocity = constant(1.3, -0.7)
    way = torch.zeros(1, 2, 2, 24, 32)
    way[:, 1] = constant(5, 5)
    for _ in range(10):
        velocity = carried_on(velocity)
        way = compose(velocity, way)
    torch.testing.assert_close(way[:, 0], constant(13.0, -7.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(way[:, 1], constant(18.0, -2.0), atol=1e-4, rtol=0)


def test_two_steps_lead_where_the_second_leads_from_the_place_of_the_first() -> None:
    generator = torch.Generator().manual_seed(3)
    way = torch.rand((1, 1, 2, 24, 32), generator=generator)
    # By whole pixels, so that the place is one pixel.
    found = compose(constant(-1, 2), way)
    torch.testing.assert_close(found[0, 0, :, 4, 7], way[0, 0, :, 6, 6] + torch.tensor([-1.0, 2.0]))


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-1.3, 0.6), (3.7, -2.2)])
def test_the_velocity_of_a_moving_picture_is_right_to_a_tenth_of_a_pixel(shift: tuple[float, float]) -> None:
    before = texture((96, 96))
    frame = sample(before, constant(*shift, (96, 96)))
    found = velocity_between(frame, before)[0, :, 16:-16, 16:-16]
    assert (found - torch.tensor(shift).view(2, 1, 1)).abs().mean() < 0.1


def test_equal_frames_have_a_velocity_of_exactly_zero_at_any_size() -> None:
    for size in ((8, 8), (16, 8), (40, 24)):
        frame = torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(0))
        found = velocity_between(frame, frame)
        assert found.shape == (2, 2, *size)
        assert not found.any()
        assert not camera_motion(found).any()


def test_the_camera_is_followed_past_things_that_move_otherwise() -> None:
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    truth = torch.stack([2 + 0.01 * x, -1 + 0.02 * y - 0.005 * x])[None]
    velocity = truth.clone()
    velocity[:, :, 10:34, 8:36] = torch.tensor([-6.0, 4.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(
        affine_field(camera_motion(velocity), truth.shape[-2:]), truth, atol=0.05, rtol=0
    )


def test_affine_steps_join_as_their_displacements_do() -> None:
    step = torch.tensor([[[1.0, 0.01, 0.02], [-0.5, 0.005, 0.01]]])
    ways = torch.tensor([[[[2.0, -0.03, 0.01], [0.3, 0.02, -0.01]], [[0.0, 0, 0], [0, 0, 0]]]])
    size = torch.Size((48, 64))
    found = affine_field(compose_affine(step, ways), size)
    expected = compose(affine_field(step, size), affine_field(ways, size))
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-4, rtol=0)
