"""What every prediction model can do. Sessions and training use these verbs and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, Rules, SlotMemory, get_policy
from stremn.models.config import (
    MotionConfig,
    PredictorConfig,
    RecurrentConfig,
    SimVPConfig,
    SlotPredictorConfig,
)

__all__ = ["Predictor", "PredictorState", "forecast_clip", "to_unit_range"]

MEMORY = "memory."


class _UnitRange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad.masked_fill(((x < 0) & (grad > 0)) | ((x > 1) & (grad < 0)), 0)


def to_unit_range(x: Tensor) -> Tensor:
    """Clamp to [0, 1], float32, with a gradient wherever it leads back into the range.

    What is too large can so be lowered, but not raised: fed back for many frames, gradients that clamping
    does not stop grow without bound.
    """
    return cast(Tensor, _UnitRange.apply(x.float()))


@dataclass(frozen=True)
class PredictorState:
    """What ``B`` videos leave to their next frame; of one size however many frames there were.

    Attributes:
        carried: tensors by name, the model's own.
        memory: slots of the ``B`` videos; ``None`` for a model without.
    """

    carried: dict[str, Tensor]
    memory: SlotMemory | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, those of the memory as ``memory.*``, to save or to move them."""
        slots = {} if self.memory is None else self.memory.tensors()
        return self.carried | {MEMORY + name: tensor for name, tensor in slots.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], layout: MemoryLayout | None = None) -> "PredictorState":
        """The inverse of :meth:`tensors`; ``layout`` is the memory's, where there is one."""
        slots = {n.removeprefix(MEMORY): t for n, t in tensors.items() if n.startswith(MEMORY)}
        memory = SlotMemory(layout, **slots) if slots and layout is not None else None
        return cls({n: t for n, t in tensors.items() if not n.startswith(MEMORY)}, memory)

    def copy(self) -> "PredictorState":
        """A state that shares no tensor with this one."""
        layout = None if self.memory is None else self.memory.layout
        return PredictorState.of({name: tensor.clone() for name, tensor in self.tensors().items()}, layout)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors().values())


class Predictor(nn.Module, ABC):
    """Base of the prediction models; holds weights and no state.

    ``B`` videos go through as one batch; frames are ``(B, C, h, w)`` in [0, 1] with sides divisible by
    :attr:`stride`. To forecast, give what :meth:`predict` returns to :meth:`follow`.
    """

    def __init__(self, config: PredictorConfig | MotionConfig | RecurrentConfig | SimVPConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def stride(self) -> int:
        """Both sides of a frame are divisible by it."""
        return self.config.stride

    @abstractmethod
    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        """Take in the next frame.

        Args:
            frame: ``(B, C, h, w)`` in [0, 1].
            state: of the frame before, ``None`` at the first. Without gradients its memory is written in
                place; :meth:`PredictorState.copy` keeps it.
            rules: of the memory; ``None`` is the config's. A model without slots passes them over.

        Raises:
            ValueError: if the frame has other channels, or sides that the stride does not divide.
        """

    @abstractmethod
    def predict(self, state: PredictorState) -> Tensor:
        """The next frame ``(B, C, h, w)`` float32 in [0, 1]; the state is left as it is."""

    def follow(
        self,
        predicted: Tensor,
        state: PredictorState,
        rules: Rules | None = None,
    ) -> PredictorState:
        """Go on from a predicted frame, by default as if it had been observed.

        Args:
            predicted: what :meth:`predict` made of the state ``(B, C, h, w)``.
            state: see :meth:`observe`.
            rules: see there.
        """
        return self.observe(predicted, state, rules)

    def read_from(self, state: PredictorState) -> tuple[Tensor, Tensor] | None:
        """Where the next frame is read from observed ones; ``None`` of a model that draws its frames.

        Args:
            state: see :meth:`predict`.

        Returns:
            The displacement from each pixel to its place in the latest observed frame, ``(B, 2, h, w)``, x
            then y, in pixels, and the shares of the latest frame and of those of the slots
            ``(B, 1 + K, h, w)``.
        """
        return None

    def rules(self, slots: int | None = None, policy: str | None = None) -> Rules | None:
        """What the memory is run by, as the config says unless told otherwise; ``None`` without slots.

        Raises:
            StremnError: if the model has no slots and one is asked for, or what is asked for cannot be.
        """
        if isinstance(self.config, SlotPredictorConfig):
            config = self.config if slots is None else replace(self.config, slots=slots)
            policy = config.policy if policy is None else policy
            return Rules(config.layout, get_policy(policy), tau=config.tau)
        if slots is not None or policy is not None:
            raise StremnError(f"a model '{self.config.architecture}' has no memory slots and no policy")
        return None

    def _check(self, frame: Tensor) -> None:
        channels, stride = self.config.channels, self.stride
        if frame.dim() != 4 or frame.shape[1] != channels:
            raise ValueError(f"expected frames (B, {channels}, h, w), got {tuple(frame.shape)}")
        if frame.shape[2] % stride or frame.shape[3] % stride:
            raise ValueError(f"sides {tuple(frame.shape[2:])} are not divisible by the stride {stride}")


def forecast_clip(
    model: Predictor,
    frames: Tensor,
    observed: int,
    rules: Rules | None = None,
) -> Tensor:
    """The frames that follow the observed ones, each foreseen from the predictions before it.

    Args:
        model: in training mode or not.
        frames: whole clips ``(B, T, C, h, w)`` in [0, 1].
        observed: M, the frames that the model is given, 1 to T - 1.
        rules: of the memory; ``None`` is the model's.

    Returns:
        Frames ``M … T - 1`` ``(B, T - M, C, h, w)`` float32.

    Raises:
        ValueError: if there is nothing to observe or nothing to predict.
    """
    length = frames.shape[1]
    if not 1 <= observed < length:
        raise ValueError(f"{observed} of {length} frames cannot be observed: at least 1, and not all")
    state, found = None, list[Tensor]()
    for t in range(length - 1):
        if state is None or t < observed:
            state = model.observe(frames[:, t], state, rules)
        else:
            state = model.follow(found[-1], state, rules)
        if t + 1 >= observed:
            found.append(model.predict(state))
    return torch.stack(found, dim=1)
