"""LPIPS: how different two frames look to a network trained on photographs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from stremn.errors import StremnError

__all__ = ["Lpips"]


class Lpips:
    """Learned perceptual image patch similarity on AlexNet, by torchmetrics.

    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018). Its
    own weights come with torchmetrics; those of AlexNet are torchvision's for ImageNet.

    Args:
        weights: file of torchvision's weights, ``.pth`` or ``.safetensors``.
        device: where it runs.

    Raises:
        StremnError: if torchmetrics is missing, or the weights cannot be read or are of another network.
    """

    def __init__(self, weights: Path | str, *, device: torch.device | str = "cpu") -> None:
        """Build the network and load its weights."""
        try:
            # The public class downloads the backbone whatever it is given; the network behind it does not.
            from torchmetrics.functional.image.lpips import _NoTrainLpips
        except ImportError as error:
            raise StremnError(
                "LPIPS needs torchmetrics: install it with pip install 'stremn[metrics]'"
            ) from error
        network = _NoTrainLpips(net="alex", pnet_rand=True)
        _load(network.net, Path(weights))
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


def _load(network: nn.Module, path: Path) -> None:
    """Layers keep torchvision's numbers, but stand in slices: ``slice2.3.bias`` is ``features.3.bias``."""
    weights = _read(path)
    names = {name: "features." + ".".join(name.split(".")[-2:]) for name in network.state_dict()}
    try:
        network.load_state_dict({name: weights[source] for name, source in names.items()})
    except (KeyError, RuntimeError) as error:
        raise StremnError(f"{path}: not the weights of torchvision's AlexNet; give that file") from error
