"""LPIPS: how different two frames look to a network trained on photographs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stremn.errors import StremnError

__all__ = ["BACKBONES", "Lpips"]

BACKBONES = {
    "alex": ("alexnet", "AlexNet_Weights"),
    "vgg": ("vgg16", "VGG16_Weights"),
    "squeeze": ("squeezenet1_1", "SqueezeNet1_1_Weights"),
}
"""torchvision's network and its weights, by LPIPS's name."""


class Lpips:
    """Learned perceptual image patch similarity, by torchmetrics.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018). Its
    own weights come with torchmetrics; those of the backbone are torchvision's for ImageNet, from a file or
    downloaded once.

    Args:
        weights: file of torchvision's weights, ``.pth`` or ``.safetensors``; None downloads them.
        backbone: ``alex`` (the tables' choice), ``vgg`` or ``squeeze``.
        device: where it runs.

    Raises:
        StremnError: if torchmetrics is missing, or the weights cannot be had or are of another network.
    """

    def __init__(
        self, weights: Path | str | None = None, *, backbone: str = "alex", device: torch.device | str = "cpu"
    ) -> None:
        """Build the network and load its weights."""
        if backbone not in BACKBONES:
            raise StremnError(f"LPIPS has no backbone '{backbone}': choose one of {', '.join(BACKBONES)}")
        try:
            # The public class downloads the backbone whatever it is given; the network behind it does not.
            from torchmetrics.functional.image.lpips import _NoTrainLpips
        except ImportError as error:
            raise StremnError(
                "LPIPS needs torchmetrics: install it with pip install 'stremn[metrics]'"
            ) from error
        found = _download(backbone) if weights is None else _read(Path(weights))
        network = _NoTrainLpips(net=backbone, pnet_rand=True)  # type: ignore[arg-type]
        _load(network.net, found, "the download" if weights is None else str(weights), backbone)
        self.network = network.to(device).eval()

    @torch.no_grad()
    def __call__(self, prediction: Tensor, truth: Tensor, *, scaled: bool = True) -> Tensor:
        """The distance of each pair of frames.

        Args:
            prediction: ``(N, C, h, w)`` in [0, 1], C = 1 or 3, both sides at least 64.
            truth: of the same shape.
            scaled: bring frames to the [-1, 1] that the network was trained on; the code behind the PredRNN
                figures does not.

        Returns:
            ``(N,)`` float32, 0 for equal frames.

        Raises:
            StremnError: if the frames are too small.
        """
        if min(prediction.shape[-2:]) < 64:
            size = "x".join(str(side) for side in prediction.shape[:-3:-1])
            raise StremnError(f"frames of {size} are too small for LPIPS: give 64 pixels or more")
        device = next(self.network.parameters()).device
        pair = (f.to(device, torch.float32).expand(-1, 3, -1, -1) for f in (prediction, truth))
        found: Tensor = self.network(*pair, normalize=scaled)
        return found.reshape(-1)


def _download(backbone: str) -> dict[str, Tensor]:
    import torchvision

    entry = getattr(torchvision.models, BACKBONES[backbone][1]).DEFAULT
    try:
        found: dict[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise StremnError(
            f"LPIPS needs the ImageNet weights of {BACKBONES[backbone][0]}, which cannot be downloaded here: "
            f"give them as a file ({entry.url.rsplit('/', 1)[-1]} of torchvision)"
        ) from error
    return found


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's errors are of every kind
        raise StremnError(f"{path}: cannot be read as weights; give a file of torchvision") from error
    if not isinstance(found, dict):
        raise StremnError(f"{path}: holds no weights by name; give a file of torchvision")
    return found


def _load(network: nn.Module, weights: dict[str, Any], where: str, backbone: str) -> None:
    """Layers keep torchvision's numbers, but stand in slices: ``slice2.3.bias`` is ``features.3.bias``."""
    names = {name: "features." + ".".join(name.split(".")[-2:]) for name in network.state_dict()}
    if backbone == "squeeze":
        names = {name: "features." + name.split(".", 2)[2] for name in names}
    try:
        network.load_state_dict({name: weights[source] for name, source in names.items()})
    except (KeyError, RuntimeError) as error:
        raise StremnError(
            f"{where}: not the weights of torchvision's {BACKBONES[backbone][0]}; give that file"
        ) from error
