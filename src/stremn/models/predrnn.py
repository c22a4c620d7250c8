"""``predrnn``: Wang et al., *PredRNN* (NeurIPS 2017; long version https://arxiv.org/abs/2103.09504)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from stremn.errors import StremnError
from stremn.models.predict_config import RecurrentConfig
from stremn.models.recurrent import RecurrentPredictor

__all__ = ["PredRNN", "SpatioTemporalCell"]


class SpatioTemporalCell(nn.Module):
    """ST-LSTM: a cell with a state in time and a second one that comes from the layer below."""

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        """``channels`` in, ``hidden`` in memories and output; forget gates start with a bias of 1."""
        super().__init__()
        padding = kernel // 2
        self.temporal = nn.Conv2d(channels + hidden, 4 * hidden, kernel, padding=padding)
        self.spatial = nn.Conv2d(channels + hidden, 3 * hidden, kernel, padding=padding)
        self.output = nn.Conv2d(2 * hidden, hidden, kernel, padding=padding, bias=False)
        self.fuse = nn.Conv2d(2 * hidden, hidden, 1, bias=False)
        with torch.no_grad():
            for gates in (self.temporal, self.spatial):
                assert gates.bias is not None
                gates.bias[hidden : 2 * hidden] += 1

    def forward(
        self, x: Tensor, hidden: Tensor, cell: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``x``, last hidden and cell state, and the spatial memory of the layer below, to the new three."""
        i, f, g, o = self.temporal(torch.cat([x, hidden.to(x.dtype)], dim=1)).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        i, f, g = self.spatial(torch.cat([x, memory.to(x.dtype)], dim=1)).chunk(3, dim=1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        both = torch.cat([cell, memory], dim=1)
        return torch.sigmoid(o + self.output(both)) * torch.tanh(self.fuse(both)), cell, memory


class PredRNN(RecurrentPredictor):
    """See the module; input and output as in :class:`~stremn.models.predictor.Predictor`.

    The state carries ``hidden.*`` and ``cell.*`` ``(B, hidden, H, W)`` of every layer, and the ``spatial``
    memory of the last one, which the first layer goes on with at the next frame.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        """Random weights.

        Raises:
            StremnError: if the layers differ in width, which the memory that passes through all cannot.
        """
        super().__init__(config)
        if len(set(config.hidden)) > 1:
            raise StremnError(f"invalid model config: predrnn needs one hidden width, not {config.hidden}")
        pixels = config.channels * config.patch**2
        self.cells = nn.ModuleList(
            SpatioTemporalCell(channels, hidden, config.kernel)
            for channels, hidden in pairwise((pixels, *config.hidden))
        )
        self.pixels = nn.Conv2d(config.hidden[-1], pixels, 1)

    def advance(self, patches: Tensor, carried: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """See the base class; the spatial memory climbs the layers and comes back to the first one."""
        new, x = {}, patches
        spatial = carried.get("spatial")
        if spatial is None:
            spatial = self._zeros(patches, self.config.hidden[-1])
        for layer, (cell, width) in enumerate(zip(self.cells, self.config.hidden, strict=True)):
            names = (f"hidden.{layer}", f"cell.{layer}")
            before = [carried[n] if n in carried else self._zeros(patches, width) for n in names]
            x, new[names[1]], spatial = cell(x, *before, spatial)
            new[names[0]] = x
        return new | {"spatial": spatial}, self.pixels(x)
