"""``convlstm``: Shi et al. 2015, *Convolutional LSTM Network* (https://arxiv.org/abs/1506.04214).

One stack that predicts the next frame from the one before, as later papers use it for comparison, in place of
the original pair of an encoding and a forecasting stack; the layers and the output are the original's.
"""

import torch
from torch import Tensor, nn

from stremn.models.predict_config import RecurrentConfig
from stremn.models.recurrent import RecurrentPredictor

__all__ = ["ConvLSTM", "ConvLSTMCell"]


class ConvLSTMCell(nn.Module):
    """Eq. (3) of the paper, with peepholes of one weight per channel; the forget gate's bias starts at 1."""

    def __init__(self, channels: int, hidden: int, kernel: int) -> None:
        """``channels`` in, ``hidden`` in state and output, square ``kernel``."""
        super().__init__()
        self.gates = nn.Conv2d(channels + hidden, 4 * hidden, kernel, padding=kernel // 2)
        self.peephole = nn.Parameter(torch.zeros(3, hidden, 1, 1))
        with torch.no_grad():
            assert self.gates.bias is not None
            self.gates.bias[hidden : 2 * hidden] += 1

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` ``(B, channels, H, W)`` and the last hidden and cell state to the new two."""
        to_input, to_forget, to_output = self.peephole
        i, f, g, o = self.gates(torch.cat([x, hidden.to(x.dtype)], dim=1)).chunk(4, dim=1)
        keep = torch.sigmoid(f + to_forget * cell) * cell
        cell = keep + torch.sigmoid(i + to_input * cell) * torch.tanh(g)
        return torch.sigmoid(o + to_output * cell) * torch.tanh(cell), cell


class ConvLSTM(RecurrentPredictor):
    """See the module; input and output as in :class:`~stremn.models.predictor.Predictor`.

    The state carries ``hidden.*`` and ``cell.*`` ``(B, hidden, H, W)`` of every layer.
    """

    def __init__(self, config: RecurrentConfig) -> None:
        """Random weights."""
        super().__init__(config)
        pixels = config.channels * config.patch**2
        inputs = (pixels, *config.hidden[:-1])
        self.cells = nn.ModuleList(
            ConvLSTMCell(channels, hidden, config.kernel)
            for channels, hidden in zip(inputs, config.hidden, strict=True)
        )
        self.pixels = nn.Conv2d(sum(config.hidden), pixels, 1)

    def advance(self, patches: Tensor, carried: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """See the base class; the output is a 1×1 convolution of the hidden states of all layers."""
        new, x, outputs = {}, patches, []
        for layer, (cell, width) in enumerate(zip(self.cells, self.config.hidden, strict=True)):
            names = (f"hidden.{layer}", f"cell.{layer}")
            before = [carried[n] if n in carried else self._zeros(patches, width) for n in names]
            x, new[names[1]] = cell(x, *before)
            new[names[0]] = x
            outputs.append(x)
        return new, self.pixels(torch.cat(outputs, dim=1))
