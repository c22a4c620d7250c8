"""A copy of a model that is made to compute and nothing else."""

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stremn.errors import StremnError
from stremn.runtime.packed import pack
from stremn.runtime.strips import in_strips

__all__ = ["for_inference"]

READY = "_made_ready"
"""Name of what a model that is ready carries: device, dtype and whether it is packed."""

Network = TypeVar("Network", bound=nn.Module)


def for_inference(
    model: Network, device: torch.device, dtype: torch.dtype, *, packed: bool = True
) -> Network:
    """Copy a model to a device, in evaluation mode, ready to run fast; the model itself is left as it is.

    Batch norm is folded into the convolution before it, and convolutions keep their weights in the dtype in
    which autocast runs them, instead of converting them at every frame. On a CPU convolutions are
    :mod:`~stremn.runtime.packed`, and blocks with the largest maps computed in :mod:`~stremn.runtime.strips`.

    Args:
        model: any registered model.
        device: where to.
        dtype: of autocast; ``torch.float32`` where there is none.
        packed: False for a model that ``torch.compile`` is to see, which packs by itself.

    Returns:
        A model with the same results up to rounding. It cannot be trained or saved. One that was made ready
        before in the same way is returned as it is, so that sessions can share it.

    Raises:
        StremnError: if it was made ready in another way.
    """
    how = (device, dtype, packed)
    if (made := getattr(model, READY, None)) is not None:
        if made != how:
            raise StremnError(
                f"a model made ready for {made[1]} on {made[0]} cannot run in {dtype} on {device}: open the "
                "session with the model that was loaded"
            )
        return model
    ready = copy.deepcopy(model).eval()
    activated = [folded for module in ready.modules() for folded in _fold_batch_norm(module)]
    for module in ready.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    ready.requires_grad_(False)
    ready.to(device)
    ready.to(memory_format=torch.channels_last)
    if device.type == "cpu":
        if packed:
            pack(ready, activated)
        in_strips(ready)
    setattr(ready, READY, how)
    return ready


def _fold_batch_norm(module: nn.Module) -> list[tuple[nn.Module, str, str]]:
    """Fold each batch norm that directly follows a convolution among the children; its activation stays.

    Returns:
        For each of them the module and the names of the convolution and of the activation.
    """
    folded = []
    before: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            # timm's batch norm carries its activation.
            setattr(module, name, getattr(child, "act", nn.Identity()))
            folded.append((module, before[0], name))
        before = (name, child)
    return folded
