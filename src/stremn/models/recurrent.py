"""What ConvLSTM and PredRNN have in common: patches in, recurrent layers, patches out."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.memory import Rules
from stremn.models.predict_config import RecurrentConfig
from stremn.models.predictor import Predictor, PredictorState, to_unit_range

__all__ = ["RecurrentPredictor"]


class RecurrentPredictor(Predictor):
    """A stack of recurrent layers on squares of pixels.

    The state carries what :meth:`advance` returns, and the ``output`` ``(B, C·P², H, W)`` of the next frame.
    """

    config: RecurrentConfig

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
        """See the base class; there are no slots, and ``rules`` say nothing."""
        self._check(frame)
        patches = F.pixel_unshuffle(frame, self.config.patch).contiguous(memory_format=torch.channels_last)
        carried, output = self.advance(patches, {} if state is None else state.carried)
        return PredictorState(carried | {"output": output})

    def predict(self, state: PredictorState) -> Tensor:
        """See the base class."""
        return to_unit_range(F.pixel_shuffle(state.carried["output"], self.config.patch))

    def _zeros(self, patches: Tensor, width: int) -> Tensor:
        """A first state ``(B, width, H, W)``, float32 also under autocast."""
        batch, _, *grid = patches.shape
        zeros = torch.zeros((batch, width, *grid), device=patches.device)
        return zeros.contiguous(memory_format=torch.channels_last)
