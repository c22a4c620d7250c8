"""SimVP, which draws all frames to come at once from the observed ones, with convolutions alone."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import Rules
from stremn.models.config import SimVPConfig
from stremn.models.predictor import Predictor, PredictorState, to_unit_range

__all__ = ["SimVP"]


class Gated(nn.Module):
    """A residual block: a depthwise convolution of wide reach gates its own input, then two 1×1 layers.

    The attention of large kernels of SimVPv2 (https://arxiv.org/abs/2211.12509).
    """

    def __init__(self, channels: int) -> None:
        """``channels`` in and out."""
        super().__init__()
        self.norm_reach, self.norm_mix = (nn.GroupNorm(1, channels) for _ in range(2))
        self.enter = nn.Conv2d(channels, channels, 1)
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.split = nn.Conv2d(channels, 2 * channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        gate, value = self.split(self.far(self.near(F.gelu(self.enter(self.norm_reach(x)))))).chunk(2, dim=1)
        x = x + self.leave(torch.sigmoid(gate) * value)
        return x + self.mix(self.norm_mix(x))


class SimVP(Predictor):
    """Frames encoded one by one, mixed as channels, decoded one by one; a ``Predictor``.

    From https://arxiv.org/abs/2206.05099, with the middle part of https://arxiv.org/abs/2211.12509. The state
    carries the last M observed ``frames`` ``(B, M, C, h, w)``, the M that were ``found`` to follow, and how
    many of these were gone on with, ``ahead``: below zero as long as fewer than M were observed, the first of
    which then stands for those that are missing. After M foreseen frames these are taken as observed.
    """

    config: SimVPConfig

    def __init__(self, config: SimVPConfig) -> None:
        super().__init__(config)
        width, channels = config.spatial, config.frames * config.spatial
        self.first = _layer(config.channels, width)
        self.encoder = nn.Sequential(_layer(width, width, 2), _layer(width, width), _layer(width, width, 2))
        self.enter = nn.Conv2d(channels, config.temporal, 1)
        self.middle = nn.Sequential(*(Gated(config.temporal) for _ in range(config.blocks)))
        self.leave = nn.Conv2d(config.temporal, channels, 1)
        larger = [nn.Sequential(_layer(width, 4 * width), nn.PixelShuffle(2)) for _ in range(2)]
        self.decoder = nn.Sequential(larger[0], _layer(width, width), larger[1])
        pixels = nn.Conv2d(width, config.channels, 1)
        self.last = nn.Sequential(_layer(2 * width, width), pixels)
        assert pixels.bias is not None
        nn.init.constant_(pixels.bias, 0.5)  # grey: black lies at the end of the range

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        """Take the next frame; there are no slots, and ``rules`` say nothing."""
        self._check(frame)
        count, frame = self.config.frames, frame.float().unsqueeze(1)
        if state is None:
            frames, ahead = frame.repeat(1, count, 1, 1, 1), 1 - count
        else:
            frames = torch.cat([state.carried["frames"][:, 1:], frame], dim=1)
            ahead = min(int(state.carried["ahead"]) + 1, 0)
        return self._state(frames, self._foresee(frames) if ahead == 0 else torch.zeros_like(frames), ahead)

    def predict(self, state: PredictorState) -> Tensor:
        """The frame after those observed and gone on with ``(B, C, h, w)`` in [0, 1]."""
        return self._found(state)[:, max(int(state.carried["ahead"]), 0)]

    def follow(self, predicted: Tensor, state: PredictorState, rules: Rules | None = None) -> PredictorState:
        """Go on to the next of the frames that were found at once, whatever was predicted."""
        found, ahead = self._found(state), max(int(state.carried["ahead"]), 0) + 1
        if ahead < self.config.frames:
            return self._state(state.carried["frames"], found, ahead)
        return self._state(found, self._foresee(found), 0)

    @staticmethod
    def _state(frames: Tensor, found: Tensor, ahead: int) -> PredictorState:
        return PredictorState({"frames": frames, "found": found, "ahead": torch.tensor(ahead)})

    def _found(self, state: PredictorState) -> Tensor:
        if int(state.carried["ahead"]) >= 0:
            return state.carried["found"]
        return self._foresee(state.carried["frames"])

    def _foresee(self, frames: Tensor) -> Tensor:
        """The M frames ``(B, M, C, h, w)`` in [0, 1] that follow M."""
        batch = len(frames)
        fine = self.first(frames.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        x = self.encoder(fine)
        x = self.leave(self.middle(self.enter(x.unflatten(0, (batch, -1)).flatten(1, 2))))
        x = self.decoder(x.unflatten(1, (self.config.frames, -1)).flatten(0, 1))
        return to_unit_range(self.last(torch.cat([x, fine], dim=1))).unflatten(0, (batch, -1))


def _layer(channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out_channels, 3, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(1, out_channels), nn.SiLU())
