"""What a checkpoint must say of its model: a frozen dataclass that becomes JSON and back."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, get_args

from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, MemoryLayout, get_policy
from stremn.ops.read import Similarity

__all__ = ["BLOCKS", "MAX_DIM", "ModelConfig", "PredictorConfig", "RecurrentConfig", "SegmenterConfig"]

MAX_DIM = 8192
"""Widest projection; more is a damaged config, and would ask for more memory than there is."""


LATER_KEYS = {"tau": 1.0, "shared_update_key": True, "fusion": NO_FUSION}
"""What a file that lacks these keys means: it was written before there were any."""

EARLIER_KEYS = ("parted", "target_model", "guidance")
"""Of configs in files of the first version; every ``stremn-lite`` has all three, no other model has one."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ModelConfig:
    """Base of the configs of all kinds of models.

    Attributes:
        architecture: which class of network, see :mod:`stremn.models`.
    """

    architecture: str

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self))

    @property
    def fingerprint(self) -> str:
        """A digest, to tell whether the state of a session is of a model; keys that came later have none."""
        values = {k: v for k, v in asdict(self).items() if k not in LATER_KEYS or v != LATER_KEYS[k]}
        return _digest(json.dumps(values))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            StremnError: if the text is no config of this version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if not isinstance(data, dict):
                raise StremnError("model config cannot be read: not a JSON object")
            unknown = sorted(set(data) - {f.name for f in fields(cls)})
            if unknown:
                raise StremnError(f"model config has unknown keys {unknown}: upgrade stremn")
            later = {k: v for k, v in LATER_KEYS.items() if k in {f.name for f in fields(cls)}}
            data = later | data
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise StremnError(f"model config cannot be read: {error}") from error

    def _check_whole(self, **limits: tuple[int, int | None]) -> None:
        """Each named field, or each entry of a tuple, is a whole number from the first to the second."""
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            several = isinstance(value, tuple) and isinstance(getattr(type(self), name, ()), tuple)
            for number in value if several else (value,):
                if not isinstance(number, int) or number < low or (high is not None and number > high):
                    bound = f"at least {low}" if high is None else f"from {low} to {high}"
                    raise StremnError(
                        f"invalid model config: {name} must be a whole number {bound}, not {number!r}"
                    )

    def _check_read(self, similarity: Any, scale: Any) -> None:
        """What Eq. (5) is computed with."""
        if similarity not in get_args(Similarity):
            raise StremnError(f"invalid model config: unknown similarity {similarity!r}, use dot or l2")
        if not isinstance(self.architecture, str) or not isinstance(scale, (int, float, type(None))):
            raise StremnError(
                f"invalid model config: architecture {self.architecture!r} must be a name, "
                f"scale {scale!r} a number or nothing"
            )

    def _check_choice(self, tau: Any, shared: Any) -> None:
        """What the learned choice is made with, Eq. (1)-(3)."""
        if (
            isinstance(tau, bool)
            or not isinstance(tau, (int, float))
            or not tau > 0
            or not math.isfinite(tau)
        ):
            raise StremnError(f"invalid model config: tau must be a number above 0, not {tau!r}")
        if not isinstance(shared, bool):
            raise StremnError(
                f"invalid model config: shared_update_key must be true or false, not {shared!r}"
            )


@dataclass(frozen=True)
class SegmenterConfig(ModelConfig):
    """Everything that fixes a segmentation model and its default use.

    Attributes:
        architecture: ``"lite"`` or ``"stm"``, see :mod:`stremn.models`.
        key_dim: width Dk of keys.
        value_dim: width Dv of values.
        update_dim: width of the update keys of Eq. (1).
        similarity: of the read: ``"dot"`` (Eq. 5) or ``"l2"``.
        scale: factor on the similarity; ``None`` means 1/√Dk.
        skip: whether the decoder sees the frame's own features of finer stride (highway connections);
            Sec. 3.3 of the paper says no, STM and Sec. 4.1.1 say yes.
        slots: K, all slots of an object.
        policy: default policy.
        tau: temperature of the learned choice in training, Eq. (3).
        shared_update_key: whether one layer makes the update keys of contenders and of what is stored; the
            paper has two (M2).
        fusion: which templates take up what a replaced one held (Appendix B), one of
            :data:`stremn.memory.FUSIONS`.
        candidate_every: every how many frames the previous latest template competes for a chosen slot.
        certainty: default of how sure an object must be of its pixels for a template to be written; 0 writes
            every template.
        size: default internal resolution, the shorter side in pixels; 0 means the frame's own.
        mean: per-channel mean taken from RGB in [0, 1].
        std: per-channel divisor after that.
    """

    key_dim: int = 128
    value_dim: int = 512
    update_dim: int = 128
    similarity: Similarity = "dot"
    scale: float | None = None
    skip: bool = False
    slots: int = 6
    policy: str = "learned"
    tau: float = 1.0
    shared_update_key: bool = False
    fusion: str = NO_FUSION
    candidate_every: int = 1
    certainty: float = 0.0
    size: int = 480
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        get_policy(self.policy)
        self._check_whole(
            key_dim=(1, MAX_DIM),
            value_dim=(1, MAX_DIM),
            update_dim=(1, MAX_DIM),
            slots=(2, None),
            candidate_every=(1, None),
            size=(0, None),
        )
        self._check_read(self.similarity, self.scale)
        self._check_choice(self.tau, self.shared_update_key)
        if self.fusion not in FUSIONS:
            raise StremnError(f"invalid model config: fusion must be one of {', '.join(FUSIONS)}")
        if not isinstance(self.certainty, (int, float)) or not 0 <= self.certainty <= 1:
            raise StremnError(f"invalid model config: certainty must be from 0 to 1, not {self.certainty!r}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if len(value) != 3 or not all(isinstance(v, (int, float)) for v in value):
                raise StremnError(f"invalid model config: {name} must be three numbers, not {value!r}")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of :meth:`ModelConfig.to_json`; earlier files say in words what an architecture has.

        Raises:
            StremnError: if the text is no config of this version.
        """
        data = json.loads(text)
        lite = data.get("architecture") == "lite"
        for key in EARLIER_KEYS:
            if data.pop(key, lite) is not lite:
                raise StremnError(f"a model with {key!r} {not lite} was an experiment: use stremn 0.1 for it")
        return super().from_json(json.dumps(data))

    @property
    def fingerprint(self) -> str:
        """A digest of the text as the first version wrote it, so that its saved states are still told."""
        values: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name in LATER_KEYS and value == LATER_KEYS[name]:
                continue
            values[name] = value
            for key in {"scale": EARLIER_KEYS[:2], "skip": EARLIER_KEYS[2:]}.get(name, ()):
                values[key] = self.architecture == "lite"
        return _digest(json.dumps(values))

    @property
    def layout(self) -> MemoryLayout:
        """The memory layout of K slots: one permanent, one latest, the rest chosen (Sec. 4.1.1)."""
        return MemoryLayout.of_slots(self.slots)


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
            odd, see :class:`stremn.models.slot_predictor.Moved`; 0 leaves the decoder to draw every pixel, as
            in the paper.
        still: whether an untrained model with ``motion`` nearly repeats the last frame, which starts well
            where little moves; else it mixes all places alike, which starts well where everything does.
        slots: K, all of them replaceable (Sec. 4.2).
        policy: default policy.
        tau: temperature of the learned choice in training, Eq. (3).
        shared_update_key: whether one layer makes the update keys of contenders and of what is stored; the
            paper has two (M2).
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
    tau: float = 1.0
    shared_update_key: bool = False
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
        self._check_choice(self.tau, self.shared_update_key)

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
