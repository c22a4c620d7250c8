"""A copy of a model that is made to compute and nothing else."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stremn.models.strips import in_strips

__all__ = ["for_inference"]

Network = TypeVar("Network", bound=nn.Module)


def for_inference(model: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """Copy a model to a device, in evaluation mode, ready to run fast; the model itself is left as it is.

    Batch norm is folded into the convolution before it, and convolutions keep their weights in the dtype in
    which autocast runs them, instead of converting them at every frame. On a CPU the blocks with the largest
    maps are computed in :mod:`~stremn.models.strips`.

    Args:
        model: any registered model.
        device: where to.
        dtype: of autocast; ``torch.float32`` where there is none.

    Returns:
        A model with the same results up to rounding. It cannot be trained or saved.
    """
    ready = copy.deepcopy(model).eval()
    for module in ready.modules():
        _fold_batch_norm(module)
    for module in ready.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    if device.type == "cpu":
        in_strips(ready)
    ready.requires_grad_(False)
    ready.to(device)
    return ready.to(memory_format=torch.channels_last)


def _fold_batch_norm(module: nn.Module) -> None:
    """Fold each batch norm that directly follows a convolution among the children; its activation stays."""
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            # timm's batch norm carries its activation.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        before = (name, child)
