"""Layers that more than one model uses."""

from torch import Tensor, nn

__all__ = ["ResidualBlock"]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with pre-activation and a skip, no normalisation, as in STM's decoder."""

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return x + self.second(self.first(x.relu()).relu())
