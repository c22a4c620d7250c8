"""Configs of the prediction models."""

import math
from dataclasses import dataclass

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, get_policy
from stremn.models.config import MAX_DIM, ModelConfig
from stremn.ops.read import Similarity

__all__ = ["BLOCKS", "PredictorConfig", "RecurrentConfig"]

BLOCKS = 6
"""Blocks of the encoder, and of the decoder (Sec. 4.2)."""

MOST_LAYERS = 64

MOST_MOTION = 15


@dataclass(frozen=True)
class PredictorConfig(ModelConfig):
    """Everything that fixes a prediction model with slot memory; the defaults are the paper's.

    Attributes:
        architecture: ``"predict"``.
        channels: of a frame: 1 grey, 3 RGB.
        stack: frames that the encoder sees at a time, the newest last.
        widths: channels after each of the 6 blocks of the encoder; the decoder goes back through them.
        strides: of each block's first convolution, 1, 2 or 4; their product is the memory's stride.
        key_dim: width Dk of keys.
        value_dim: width Dv of values.
        update_dim: width of the update keys of Eq. (1).
        similarity: of the read: ``"dot"`` (Eq. 5) or ``"l2"``.
        scale: factor on the similarity; ``None`` means 1/√Dk.
        skip: whether the decoder sees the encoder's maps of finer stride (highway connections); Sec. 3.3 of
            the paper says no.
        motion: each pixel of the next frame is mixed from ``motion`` by ``motion`` places in the last one,
            odd, see :class:`stremn.models.moved.Moved`; 0 leaves the decoder to draw every pixel, as in the
            paper.
        still: whether an untrained model with ``motion`` nearly repeats the last frame, which starts well
            where little moves; else it mixes all places alike, which starts well where everything does.
        slots: K, all of them replaceable (Sec. 4.2).
        policy: default policy.
        size: default internal resolution, the shorter side in pixels; 0 means the frame's own.
    """

    channels: int = 3
    stack: int = 3
    widths: tuple[int, ...] = (64, 64, 128, 128, 256, 256)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2)
    key_dim: int = 128
    value_dim: int = 512
    update_dim: int = 128
    similarity: Similarity = "dot"
    scale: float | None = None
    skip: bool = False
    motion: int = 0
    still: bool = True
    slots: int = 5
    policy: str = "learned"
    size: int = 128

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        get_policy(self.policy)
        for name in ("widths", "strides"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != BLOCKS:
                raise StremnError(
                    f"invalid model config: {name} must be {BLOCKS} whole numbers, not {value!r}"
                )
        _check_channels(self.channels)
        self._check_whole(
            stack=(1, 64),
            widths=(1, MAX_DIM),
            strides=(1, 4),
            key_dim=(1, MAX_DIM),
            value_dim=(1, MAX_DIM),
            update_dim=(1, MAX_DIM),
            slots=(1, None),
            size=(0, None),
            motion=(0, MOST_MOTION),
        )
        if self.motion and self.motion % 2 == 0:
            raise StremnError(f"invalid model config: motion must be odd or 0, not {self.motion}")
        self._check_read(self.similarity, self.scale)

    @property
    def layout(self) -> MemoryLayout:
        """The memory layout of K slots, all of them chosen by the policy (Sec. 4.2)."""
        return MemoryLayout(permanent=False, latest=False, chosen=self.slots)

    @property
    def stride(self) -> int:
        """Of the memory; both sides of a frame are divisible by it."""
        return math.prod(self.strides)


@dataclass(frozen=True)
class RecurrentConfig(ModelConfig):
    """Everything that fixes one of the recurrent networks that Table 5 compares with.

    Attributes:
        architecture: ``"convlstm"`` or ``"predrnn"``.
        channels: of a frame: 1 grey, 3 RGB.
        patch: side of the square of pixels that becomes the channels of one position.
        hidden: channels of each layer's state, from the input upwards.
        kernel: side of the convolutions, odd.
        size: default internal resolution, the shorter side in pixels; 0 means the frame's own.
    """

    channels: int = 1
    patch: int = 4
    hidden: tuple[int, ...] = (128, 64, 64)
    kernel: int = 5
    size: int = 0

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        _check_channels(self.channels)
        if not isinstance(self.hidden, tuple) or not 1 <= len(self.hidden) <= MOST_LAYERS:
            raise StremnError(
                f"invalid model config: hidden must be 1 to {MOST_LAYERS} whole numbers, not {self.hidden!r}"
            )
        self._check_whole(patch=(1, 64), hidden=(1, MAX_DIM), kernel=(1, 63), size=(0, None))
        if self.kernel % 2 == 0:
            raise StremnError(f"invalid model config: kernel must be odd, not {self.kernel}")

    @property
    def stride(self) -> int:
        """Both sides of a frame are divisible by it."""
        return self.patch


def _check_channels(channels: object) -> None:
    if channels not in (1, 3):
        raise StremnError(f"invalid model config: channels must be 1 (grey) or 3 (RGB), not {channels!r}")
