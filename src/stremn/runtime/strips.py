"""Inverted residual blocks computed a strip of rows at a time.

The expanded map of an early block is the largest tensor of a whole frame: 38 MiB at 480 × 864. The C library
hands memory of that size back to the system and fetches it anew, page by page, at every frame, which takes
longer than the arithmetic. Strips of it fit into what is at hand.
"""

from itertools import pairwise
from typing import Any

from torch import Tensor, cat, nn
from torch.nn import functional as F

from stremn.runtime.packed import PackedConv2d

__all__ = ["Strips", "in_strips"]

LARGEST = 12 * 2**20
"""Bytes of an expanded map up to which a block is computed in one go."""

STRIP = 5 * 2**20
"""Bytes of the expanded map of one strip, at most."""


PARTS = ("conv_pw", "bn1", "conv_dw", "bn2", "aa", "se", "conv_pwl", "bn3", "drop_path")
"""Of an inverted residual block of timm, in the order in which they are applied."""

IDLE = ("aa", "se", "bn3", "drop_path")
"""Those of them that must do nothing."""


def in_strips(model: nn.Module) -> None:
    """Wrap all inverted residual blocks of a model, in place, whose batch norm is folded."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            parts = dict(child.named_children())
            if tuple(parts) == PARTS and all(isinstance(parts[n], nn.Identity) for n in IDLE):
                setattr(module, name, Strips(child))


class Strips(nn.Module):
    """An inverted residual block of timm, with the same result and less memory.

    Args:
        block: expansion, depthwise convolution and projection, batch norm folded.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H', W')``."""
        block: Any = self.block
        depthwise: nn.Conv2d = block.conv_dw
        batch, _, height, width = x.shape
        size = batch * depthwise.in_channels * height * width * x.element_size()
        if size <= LARGEST:
            return self.block(x)
        kernel, stride, padding = (
            int(getattr(depthwise, n)[0]) for n in ("kernel_size", "stride", "padding")
        )
        rows = (height + 2 * padding - kernel) // stride + 1
        count = min(rows, -(-size // STRIP))
        bounds = [round(i * rows / count) for i in range(count + 1)]
        strips = []
        for first, last in pairwise(bounds):
            start, end = first * stride - padding, (last - 1) * stride - padding + kernel
            part = block.bn1(block.conv_pw(x[:, :, max(start, 0) : min(end, height)]))
            part = F.pad(part, (0, 0, max(-start, 0), max(end - height, 0)))
            strips.append(block.conv_pwl(block.bn2(_padded_at_the_sides(depthwise, part))))
        whole = cat(strips, dim=2)
        return whole + x if block.has_skip else whole


def _padded_at_the_sides(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    sides = (0, int(convolution.padding[1]))
    if isinstance(convolution, PackedConv2d):
        return convolution(x, padding=sides)
    weight, stride = convolution.weight, convolution.stride
    return F.conv2d(x, weight, convolution.bias, stride, sides, groups=convolution.groups)
