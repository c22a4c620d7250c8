"""Where things are in earlier frames: displacements in pixels, joined from step to step, and read by once."""

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "affine_field",
    "camera_motion",
    "carried_on",
    "compose",
    "compose_affine",
    "pixel_grid",
    "sample",
    "seen_inside",
    "velocity_between",
]

LEAST = 16
"""Smallest side that dense optical flow is computed at; smaller frames are padded by their edge."""

REWEIGHTED = 5
"""Times that pixels are weighted anew by how far they are off the motion of the camera."""


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def pixel_grid(size: torch.Size, device: torch.device) -> Tensor:
    """Column and row of each pixel ``(2, h, w)`` float32; not to be written."""
    rows, columns = (torch.arange(n, device=device, dtype=torch.float32) for n in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])


def sample(maps: Tensor, displacement: Tensor) -> Tensor:
    """Read maps between pixels, bilinearly; beyond its edges a map goes on as at the edge.

    Args:
        maps: ``(B, C, h, w)`` float32.
        displacement: from each pixel to the place that is read ``(B, 2, h, w)``, x then y, in pixels.

    Returns:
        ``(B, C, h, w)``; a displacement of zero gives the maps themselves, up to rounding.
    """
    # To -1 … 1 between the outer edges, as grid_sample counts.
    scale = 2 / displacement.new_tensor(maps.shape[:-3:-1])
    here = (pixel_grid(maps.shape[-2:], maps.device).permute(1, 2, 0) + 0.5) * scale - 1
    grid = here + scale * displacement.permute(0, 2, 3, 1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def seen_inside(displacement: Tensor, every: int = 1) -> Tensor:
    """Whether the place that is read lies in the frame, ``(B, 2, h, w)`` to ``(B, 1, h, w)``: 0 or 1.

    ``every`` takes every so many pixels only, along both sides.
    """
    grid = pixel_grid(displacement.shape[-2:], displacement.device)
    place = grid[..., ::every, ::every] + displacement[..., ::every, ::every]
    most = place.new_tensor(displacement.shape[:-3:-1]).view(2, 1, 1) - 1
    return ((place >= 0) & (place <= most)).all(dim=1, keepdim=True).to(displacement.dtype)


def compose(velocity: Tensor, displacement: Tensor) -> Tensor:
    """One step back, and from there on: ``D'(x) = v(x) + D(x + v(x))``.

    Gradients pass as if D were even around its place: across the edges of what moves it jumps, and through
    the slopes of ten such steps gradients grow without bound.

    Args:
        velocity: from each pixel of a frame to its place in the frame before ``(B, 2, h, w)``.
        displacement: N from that frame to earlier ones ``(B, N, 2, h, w)``.

    Returns:
        From the new frame to the earlier ones ``(B, N, 2, h, w)``.
    """
    moved = sample(displacement.flatten(1, 2), velocity.detach()).view_as(displacement)
    return moved + velocity.unsqueeze(1)


def carried_on(velocity: Tensor, pace: Tensor | float = 1.0) -> Tensor:
    """The velocity at the next frame, if everything goes on as it moves: ``v(x) = u(x + p·u(x))``.

    Gradients pass as in :func:`compose`.

    Args:
        velocity: u, from each pixel of a frame to its place in the frame before ``(B, 2, h, w)``.
        pace: p, by how much of it the frame to come goes on.
    """
    return sample(velocity, pace * velocity.detach())


@torch.no_grad()
def velocity_between(frame: Tensor, before: Tensor) -> Tensor:
    """Dense optical flow from a frame to the one before it; no gradient passes.

    Dense inverse search with its finest scale at full resolution (Kroeger et al. 2016,
    https://arxiv.org/abs/1603.03590). Equal frames have a flow of exactly zero.

    Args:
        frame: ``(B, C, h, w)`` in [0, 1], grey or RGB.
        before: of the same shape.

    Returns:
        ``(B, 2, h, w)`` float32, in pixels.
    """
    height, width = frame.shape[-2:]
    pad = (0, max(0, LEAST - width), 0, max(0, LEAST - height))
    grey = [F.pad(_grey(f), pad, mode="replicate")[:, 0].cpu().numpy() for f in (frame, before)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    flows = np.stack([search.calc(*pair, None) for pair in zip(*grey, strict=True)])  # type: ignore[call-overload]
    return torch.from_numpy(flows[:, :height, :width]).permute(0, 3, 1, 2).contiguous().to(frame.device)


def _grey(frame: Tensor) -> Tensor:
    """The frame's mean channel ``(B, 1, h, w)`` uint8."""
    return (frame.float().mean(dim=1, keepdim=True) * 255).round().to(torch.uint8)


def camera_motion(velocity: Tensor) -> Tensor:
    """The affine motion that most pixels follow, least squares reweighted by how far each pixel is off.

    Args:
        velocity: ``(B, 2, h, w)`` float32.

    Returns:
        Its factors ``(B, 2, 3)``, see :func:`affine_field`; exactly zero where the velocity is.
    """
    size = velocity.shape[-2:]
    x, y = pixel_grid(velocity.shape[-2:], velocity.device)
    terms = torch.stack([torch.ones_like(x), 2 * x / size[1] - 1, 2 * y / size[0] - 1]).flatten(1)
    flat = velocity.flatten(2)
    model = flat.median(dim=2, keepdim=True).values
    for _ in range(REWEIGHTED):
        off = ((flat - model) ** 2).sum(dim=1, keepdim=True)
        weight = 1 / (off + off.median(dim=2, keepdim=True).values + 0.01)
        # Sums, since autocast would round matrix products.
        products = (weight.unsqueeze(1) * terms[:, None] * terms).sum(dim=-1)
        right = (weight.unsqueeze(1) * terms[:, None] * flat.unsqueeze(1)).sum(dim=-1)
        factors = torch.linalg.solve(products + 1e-6 * torch.eye(3, device=x.device), right)
        model = (factors.unsqueeze(-1) * terms[:, None]).sum(dim=1)
    one, across, down = factors.unbind(1)
    return torch.stack([one - across - down, 2 / size[1] * across, 2 / size[0] * down], dim=2)


def affine_field(factors: Tensor, size: torch.Size) -> Tensor:
    """The displacement of every pixel, ``(…, 2, 3)`` to ``(…, 2, h, w)``.

    The factors of a displacement in x and in y are those of one, of the column and of the row.
    """
    x, y = pixel_grid(size, factors.device)
    one, across, down = factors[..., None, None].unbind(-3)
    return (one + across * x[0]) + down * y[:, :1]


def compose_affine(velocity: Tensor, displacement: Tensor) -> Tensor:
    """As :func:`compose`, of affine motion given by its factors.

    Args:
        velocity: ``(B, 2, 3)``.
        displacement: ``(B, N, 2, 3)``.

    Returns:
        ``(B, N, 2, 3)``.
    """
    # Sums, since autocast would round matrix products.
    turned = (displacement[..., 1:].unsqueeze(-1) * velocity[:, None, None]).sum(dim=3)
    return velocity.unsqueeze(1) + displacement + turned
