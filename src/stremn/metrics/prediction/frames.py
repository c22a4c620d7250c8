"""Scores of predicted frames, one number for each frame, and the conventions they are published in."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.errors import StremnError

__all__ = [
    "CONVENTIONS",
    "FIGURES",
    "MOST_PSNR",
    "Figure",
    "Lpips",
    "as_bytes",
    "frame_errors",
    "psnr",
    "ssim",
    "uniform_ssim",
    "wrapped_psnr",
]

MOST_PSNR = 100.0
"""PSNR in dB of equal frames, so that means exist."""

CONVENTIONS = {
    "predrnn": (
        "frames cut to 8 bits before they are compared; SSIM over uniform 7x7 windows; LPIPS of frames in "
        "[0, 1]: thuml/predrnn-pytorch core/trainer.py (PSNR as in google/e3d_lstm src/trainer.py)"
    ),
    "openstl": (
        "frames as real numbers; SSIM over uniform 7x7 windows for a data range of 2, which old scikit-image "
        "took for real numbers: chengtan9907/OpenSTL openstl/core/metrics.py"
    ),
    "simvp": (
        "as openstl, but PSNR of 8-bit frames whose differences and squares wrap around at 256, which gives "
        "figures several dB higher than PSNR is: A4Bio/SimVP API/metrics.py (also TAU's KTH table)"
    ),
}
"""How the KTH tables of the literature compute their figures, by name, with the source of each.

The figures of two conventions must not be compared. The honest ones are ``predrnn`` (tables with PredRNN at
27.55 dB) and ``openstl`` (re-runs of that benchmark, below 28 dB); ``simvp`` exists only to be set beside the
tables that report 33 dB and more.
"""


@dataclass(frozen=True)
class Figure:
    """One kind of score: the heading of its column, and its name in ``CONVENTIONS`` if there are several."""

    label: str
    lower_is_better: bool
    convention: str | None = None


FIGURES = {
    "mse": Figure("MSE", True),
    "mae": Figure("MAE", True),
    "mse_pixel": Figure("MSE per pixel", True),
    "mae_pixel": Figure("MAE per pixel", True),
    "psnr": Figure("PSNR", False),
    "ssim": Figure("SSIM", False),
    "lpips": Figure("LPIPS", True),
    "psnr_predrnn": Figure("PSNR (PredRNN)", False, "predrnn"),
    "ssim_predrnn": Figure("SSIM (PredRNN)", False, "predrnn"),
    "lpips_predrnn": Figure("LPIPS (PredRNN)", True, "predrnn"),
    "psnr_openstl": Figure("PSNR (OpenSTL)", False, "openstl"),
    "ssim_openstl": Figure("SSIM (OpenSTL)", False, "openstl"),
    "psnr_simvp": Figure("PSNR (SimVP, wraps around)", False, "simvp"),
    "ssim_simvp": Figure("SSIM (SimVP)", False, "simvp"),
}
"""All kinds of scores by the name they have in results."""


def frame_errors(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared and absolute errors added up over the channels and pixels of each frame.

    This is what tables of Moving MNIST and Human3.6M call MSE and MAE.

    Args:
        prediction: ``(N, C, h, w)`` in [0, 1].
        truth: of the same shape.

    Returns:
        Both ``(N,)`` float64.

    Examples:
        >>> squared, absolute = frame_errors(torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, 1, 2, 2))
        >>> float(squared), float(absolute)
        (1.0, 2.0)
    """
    difference = prediction.double() - truth.double()
    return difference.square().sum(dim=(1, 2, 3)), difference.abs().sum(dim=(1, 2, 3))


def psnr(mean_squared_error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, ``-10 log10(MSE)``, at most ``MOST_PSNR``.

    Args:
        mean_squared_error: of each frame, per pixel, for a peak of 1, any shape.

    Examples:
        >>> round(float(psnr(torch.tensor(0.01))), 3)
        20.0
    """
    return -10 * mean_squared_error.clamp_min(10 ** (-MOST_PSNR / 10)).log10()


def as_bytes(frames: Tensor) -> Tensor:
    """Frames in [0, 1] in 8 bits, cut off and not rounded, as int64."""
    return (frames * 255).to(torch.int64)


def wrapped_psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """PSNR ``(N,)`` of frames ``(N, C, h, w)`` in [0, 1] as SimVP computes it, in 8-bit arithmetic.

    Large errors wrap around to small ones.
    """
    squares = (as_bytes(prediction) - as_bytes(truth)).square().remainder(256)
    return psnr(squares.double().mean(dim=(1, 2, 3)) / 255**2)


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity ``(N,)`` with a Gaussian window of 11 pixels, for a data range of 1.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), computed
    by torchmetrics.

    Args:
        prediction: ``(N, C, h, w)`` in [0, 1], both sides at least 11.
        truth: of the same shape.

    Raises:
        StremnError: if the frames are too small or torchmetrics is not installed.
    """
    _check_size(prediction, 11, "SSIM")
    try:
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError as error:
        raise StremnError("SSIM needs torchmetrics: install it with pip install 'stremn[metrics]'") from error
    found = structural_similarity_index_measure(
        prediction.float(), truth.float(), data_range=1.0, reduction="none"
    )
    assert isinstance(found, Tensor)
    return found.reshape(-1)


def uniform_ssim(prediction: Tensor, truth: Tensor, data_range: float) -> Tensor:
    """Structural similarity ``(N,)`` with uniform windows of 7 pixels and sample variances.

    This is what ``structural_similarity`` of scikit-image computes unless told otherwise, and what the KTH
    tables hold.

    Args:
        prediction: ``(N, C, h, w)``, both sides at least 7.
        truth: of the same shape.
        data_range: the difference of the largest and the smallest possible value.

    Raises:
        StremnError: if the frames are too small.
    """
    _check_size(prediction, 7, "SSIM")
    x, y = prediction.double(), truth.double()
    stack = torch.cat([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = F.avg_pool2d(stack, 7, stride=1).chunk(5)
    unbiased = 49 / 48
    variance_x, variance_y = unbiased * (xx - mean_x**2), unbiased * (yy - mean_y**2)
    covariance = unbiased * (xy - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    return similarity.mean(dim=(1, 2, 3))


def _check_size(frames: Tensor, least: int, figure: str) -> None:
    height, width = frames.shape[-2:]
    if min(height, width) < least:
        size = f"{width}x{height}"
        raise StremnError(f"frames of {size} are too small for {figure}: give {least} pixels or more")


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
        try:
            # The public class downloads the backbone whatever it is given; the network behind it does not.
            from torchmetrics.functional.image.lpips import _NoTrainLpips
        except ImportError as error:
            raise StremnError(
                "LPIPS needs torchmetrics: install it with pip install 'stremn[metrics]'"
            ) from error
        network = _NoTrainLpips(net="alex", pnet_rand=True)
        _load_alexnet(network.net, Path(weights))
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
        _check_size(prediction, 64, "LPIPS")
        device = next(self.network.parameters()).device
        pair = (f.to(device, torch.float32).expand(-1, 3, -1, -1) for f in (prediction, truth))
        found: Tensor = self.network(*pair, normalize=scaled)
        return found.reshape(-1)


def _load_alexnet(network: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's errors are of every kind
        raise StremnError(f"{path}: cannot be read as weights; give a file of torchvision") from error
    if not isinstance(weights, dict):
        raise StremnError(f"{path}: holds no weights by name; give a file of torchvision")
    # Layers keep torchvision's numbers, but stand in slices: ``slice2.3.bias`` is ``features.3.bias``.
    names = {name: "features." + ".".join(name.split(".")[-2:]) for name in network.state_dict()}
    try:
        network.load_state_dict({name: weights[source] for name, source in names.items()})
    except (KeyError, RuntimeError) as error:
        raise StremnError(f"{path}: not the weights of torchvision's AlexNet; give that file") from error
