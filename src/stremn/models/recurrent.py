"""What ConvLSTM and PredRNN have in common: patches in, recurrent layers, patches out."""

from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.memory import Rules
from stremn.models.config import RecurrentConfig
from stremn.models.predictor import Predictor, PredictorState, to_unit_range

__all__ = ["ConvLSTM", "ConvLSTMCell", "PredRNN", "RecurrentPredictor", "SpatioTemporalCell"]


class RecurrentPredictor(Predictor):
    """A stack of recurrent layers on squares of pixels.

    The state carries what :meth:`advance` returns, and the ``output`` ``(B, C·P², H, W)`` of the next frame.
    """

    config: RecurrentConfig
    cell: Callable[[int, int, int], nn.Module]
    """Of a layer, by channels in, hidden channels and kernel."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        pixels = config.channels * config.patch**2
        self.cells = nn.ModuleList(
            type(self).cell(channels, hidden, config.kernel)
            for channels, hidden in pairwise((pixels, *config.hidden))
        )

    @abstractmethod
    def advance(self, patches: Tensor, carried: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """One step of all layers.

        Args:
            patches: the frame ``(B, C·P², H, W)``.
            carried: of the frame before; empty at the first.

        Returns:
            What is carried to the next frame, and the patches of the predicted one.
        """

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        """Take the next frame; there are no slots, and ``rules`` say nothing."""
        self._check(frame)
        patches = F.pixel_unshuffle(frame, self.config.patch).contiguous(memory_format=torch.channels_last)
        carried, output = self.advance(patches, {} if state is None else state.carried)
        return PredictorState(carried | {"output": output})

    def predict(self, state: PredictorState) -> Tensor:
        """The frame after those observed ``(B, C, h, w)`` in [0, 1]."""
        return to_unit_range(F.pixel_shuffle(state.carried["output"], self.config.patch))

    def _before(self, layer: int, patches: Tensor, carried: dict[str, Tensor]) -> list[Tensor]:
        """Last hidden and cell state of a layer."""
        return [
            carried[name] if name in carried else self._zeros(patches, self.config.hidden[layer])
            for name in (f"hidden.{layer}", f"cell.{layer}")
        ]

    def _zeros(self, patches: Tensor, width: int) -> Tensor:
        """A first state ``(B, width, H, W)``, float32 also under autocast."""
        batch, _, *grid = patches.shape
        zeros = torch.zeros((batch, width, *grid), dtype=torch.float32, device=patches.device)
        return zeros.contiguous(memory_format=torch.channels_last)


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
    """Layers of ConvLSTM cells; a :class:`~stremn.models.predictor.Predictor`.

    The state carries ``hidden.*`` and ``cell.*`` ``(B, hidden, H, W)`` of every layer.
    """

    cell = ConvLSTMCell

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.pixels = nn.Conv2d(sum(config.hidden), config.channels * config.patch**2, 1)

    def advance(self, patches: Tensor, carried: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Every layer's next state; the output is a 1×1 convolution of the hidden states of all layers."""
        new, x, outputs = {}, patches, []
        for layer, cell in enumerate(self.cells):
            x, new[f"cell.{layer}"] = cell(x, *self._before(layer, patches, carried))
            new[f"hidden.{layer}"] = x
            outputs.append(x)
        return new, self.pixels(torch.cat(outputs, dim=1))


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
    """Layers of PredRNN cells; a :class:`~stremn.models.predictor.Predictor`.

    The state carries ``hidden.*`` and ``cell.*`` ``(B, hidden, H, W)`` of every layer, and the ``spatial``
    memory of the last one, which the first layer goes on with at the next frame.
    """

    cell = SpatioTemporalCell

    def __init__(self, config: RecurrentConfig) -> None:
        """Random weights.

        Raises:
            StremnError: if the layers differ in width, which the memory that passes through all cannot.
        """
        super().__init__(config)
        if len(set(config.hidden)) > 1:
            raise StremnError(f"invalid model config: predrnn needs one hidden width, not {config.hidden}")
        self.pixels = nn.Conv2d(config.hidden[-1], config.channels * config.patch**2, 1)

    def advance(self, patches: Tensor, carried: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Every layer's next state; the spatial memory climbs the layers and comes back to the first one."""
        new, x = {}, patches
        spatial = carried.get("spatial")
        if spatial is None:
            spatial = self._zeros(patches, self.config.hidden[-1])
        for layer, cell in enumerate(self.cells):
            x, new[f"cell.{layer}"], spatial = cell(x, *self._before(layer, patches, carried), spatial)
            new[f"hidden.{layer}"] = x
        return new | {"spatial": spatial}, self.pixels(x)
