"""Convolutions whose weights lie as oneDNN computes with them, and whose activation is part of the product.

PyTorch lays the weights of a convolution out anew at every call, and an activation is one more pass over the
map. ``torch.compile`` avoids both by operators of PyTorch that are not documented. Here they are used without
a compiler, after a trial: where they are missing or give something else, convolutions stay as they are.
"""

import functools
from collections.abc import Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PackedConv2d", "can_pack", "pack"]

SMALL = 512
"""Positions of a map up to which a 1x1 convolution is a matrix product: for some sizes oneDNN wants the
weights in another layout than for others, and to lay them out anew takes fifty times as long as it."""

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""Name and constants in oneDNN of the activations that can be computed along."""


def pack(model: nn.Module, activated: Iterable[tuple[nn.Module, str, str]] = ()) -> None:
    """Replace the convolutions of a model, in place, where this machine can.

    Args:
        model: on a CPU, in the dtypes in which it is to run; it cannot be trained afterwards.
        activated: modules with the names of two children, a convolution and the activation that is applied to
            its result and to nothing else.
    """
    for parent, convolution, activation in activated:
        found, after = getattr(parent, convolution), getattr(parent, activation)
        if _packable(found) and type(after) in ACTIVATIONS:
            setattr(parent, convolution, PackedConv2d(found, after))
            setattr(parent, activation, nn.Identity())
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if _packable(child):
                setattr(module, name, PackedConv2d(child))


class PackedConv2d(nn.Conv2d):
    """A convolution and its activation, with the same result up to rounding.

    Weights are laid out for the size of the first input. oneDNN lays them out anew by itself for an input of
    another size where that asks for it, which it hardly ever does for large maps.

    Args:
        convolution: on a CPU; pads with zeros.
        activation: one of :data:`ACTIVATIONS`.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None) -> None:
        taken = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        settings: dict[str, Any] = {name: getattr(convolution, name) for name in taken}
        super().__init__(**settings, device="meta")
        self.weight, self.bias = convolution.weight, convolution.bias
        self.activation, self.constants = ACTIVATIONS[nn.Identity if activation is None else type(activation)]
        self.packed: Tensor | None = None
        ones = self.kernel_size == self.stride == (1, 1)
        self.is_product = ones and self.padding == (0, 0) and self.groups == 1

    def __getstate__(self) -> dict[str, Any]:
        """Packed weights can be neither copied nor written; a copy packs anew."""
        return {**self.__dict__, "packed": None}

    def forward(self, x: Tensor, padding: tuple[int, int] | None = None) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C', H', W')``, channels last; ``padding`` instead of its own."""
        x = x.to(self.weight.dtype)  # as autocast would
        if self.is_product and x.shape[-2] * x.shape[-1] <= SMALL:
            product = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
            if self.activation == "none":
                return product
            return getattr(F, self.activation)(product, *self.constants, inplace=True)
        around = (self.padding if padding is None else padding, self.stride, self.dilation, self.groups)
        if self.packed is None:
            self.packed = _lay_out()(self.weight, *around, tuple(x.shape))
        return _convolve()(x, self.packed, self.bias, *around, self.activation, self.constants, "")


@functools.cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether packed convolutions work here with weights of this dtype: tried once, on small ones."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.inference_mode():
            for groups, activation in ((1, nn.Identity()), (1, nn.ReLU()), (16, nn.ReLU6())):
                plain = nn.utils.skip_init(
                    nn.Conv2d, 16, 32, 3, stride=2, padding=1, groups=groups, dtype=dtype
                )
                for parameter in plain.parameters():
                    parameter.copy_(torch.randn(parameter.shape, generator=generator))
                x = torch.randn((2, 16, 9, 13), generator=generator).to(dtype)
                expected = activation(F.conv2d(x, plain.weight, plain.bias, 2, 1, 1, groups))
                # In bfloat16 one of them may have rounded before it added the bias.
                near = {torch.float32: 1e-3, torch.bfloat16: 0.1}[dtype]
                if not torch.allclose(PackedConv2d(plain, activation)(x), expected, atol=near, rtol=0.02):
                    return False
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    return True


def _packable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Subclasses may compute something else, and padding by name or by reflection does."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.weight.device.type == "cpu"
        and can_pack(module.weight.dtype)
    )


@functools.cache
def _lay_out() -> Any:
    return torch.ops.mkldnn._reorder_convolution_weight.default


@functools.cache
def _convolve() -> Any:
    return torch.ops.mkldnn._convolution_pointwise.default
