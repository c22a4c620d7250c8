"""Layers that more than one model may use."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from stremn.memory import Template
from stremn.ops import fuse

__all__ = [
    "ASPP",
    "ResidualBlock",
    "TemplateFusion",
    "concatenate",
    "feature_channels",
    "to_map",
    "to_tokens",
]


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions ``(O, N, C)`` back to a feature map ``(O, C, H, W)``."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def to_tokens(maps: Tensor) -> Tensor:
    """A feature map ``(O, C, H, W)`` as positions ``(O, N, C)``."""
    return maps.flatten(2).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with pre-activation and a skip, no normalisation, as in STM's decoder."""

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return self.second(self.first(x.relu()).relu_()).add_(x)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (https://arxiv.org/abs/1706.05587) with group norm.

    One 1×1 convolution, three dilated 3×3 ones and the image's mean, fused by a 1×1 convolution.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        """``channels`` in, ``out_channels`` in every branch and out."""
        super().__init__()
        self.point = _conv(channels, out_channels, 1)
        self.dilated = nn.ModuleList(_conv(channels, out_channels, 3, rate) for rate in (6, 12, 18))
        self.pooled = _conv(channels, out_channels, 1)
        self.fuse = _conv(5 * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, out_channels, H, W)``."""
        pooled = self.pooled(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        branches = [self.point(x), *(branch(x) for branch in self.dilated), pooled]
        return self.fuse(torch.cat(branches, dim=1))


def _conv(channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False),
        nn.GroupNorm(32, out_channels),
        nn.ReLU(inplace=True),
    )


class TemplateFusion(nn.Module):
    """The networks f, h and g of Appendix B, a 3×3 convolution each.

    What the paper calls the template X is here what the memory keeps of it: key, value and update keys side
    by side (M4).
    """

    def __init__(self, channels: int) -> None:
        """``channels`` of a template, all its tensors together."""
        super().__init__()
        self.f, self.h, self.g = (nn.Conv2d(2 * channels, channels, 3, padding=1) for _ in range(3))

    def forward(self, deleted: Template, target: Template, *, grid: tuple[int, int]) -> Template:
        """Both of positions ``(O, N, …)`` on a grid (H, W) to the new target, Eq. (6)-(12)."""

        def on_grid(convolution: nn.Conv2d) -> Callable[[Tensor], Tensor]:
            return lambda x: convolution(x.mT.unflatten(2, grid)).flatten(2).mT

        named = target.tensors()
        gone, kept = torch.cat(list(deleted), dim=-1), torch.cat(list(target), dim=-1)
        fused = fuse(gone, kept, on_grid(self.f), on_grid(self.h), on_grid(self.g))
        parts = fused.split([t.shape[-1] for t in named.values()], dim=-1)
        return Template(**dict(zip(named, parts, strict=True)))


def concatenate(maps: Sequence[Tensor]) -> Tensor:
    """The channels of maps ``(B, C, H, W)``, ``(B, C', H, W)``, … one after the other, channels last.

    In the layout that convolutions want, whatever the maps have; ``torch.cat`` falls back to the other one
    as soon as a single map has it or is expanded.
    """
    return torch.cat([x.permute(0, 2, 3, 1) for x in maps], dim=-1).permute(0, 3, 1, 2)


def feature_channels(backbone: nn.Module) -> list[int]:
    """Channels of each map that a timm backbone with ``features_only=True`` returns."""
    return list(cast(Any, backbone).feature_info.channels())
