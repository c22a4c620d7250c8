"""Untrained models that use all that they read."""

from typing import TypeVar

import torch
from torch import nn

from stremn.models import Segmenter, create_model

Network = TypeVar("Network", bound=nn.Module)

ADDED = ("fuse_rest", "fuse_target", "correct", "share.3")
"""Layers of decoders that are zero in a new model, so that what they read has no effect until trained."""


def fill_added(model: Network, std: float = 0.01) -> Network:
    """Give these layers random weights; returns the model."""
    for name, module in model.named_modules():
        if name.endswith(ADDED) and isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=std)
    return model


def untrained_lite(seed: int, std: float = 0.01) -> Segmenter:
    """``stremn-lite`` with seeded random weights, in evaluation mode."""
    torch.manual_seed(seed)
    return fill_added(create_model("stremn-lite"), std).eval()
