"""What a checkpoint must say of its model: a frozen dataclass that becomes JSON and back."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Self, get_args, get_type_hints

from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, MemoryLayout, get_policy
from stremn.ops.read import Similarity

__all__ = [
    "BLOCKS",
    "FusionTargets",
    "ModelConfig",
    "MotionConfig",
    "Must",
    "PredictorConfig",
    "RecurrentConfig",
    "SegmenterConfig",
    "Share",
    "SimVPConfig",
    "SlotPredictorConfig",
    "check_fields",
    "json_object",
    "whole",
]

BLOCKS = 6
"""Blocks of the encoder of a prediction model, and of its decoder (Sec. 4.2)."""

LATER_KEYS = {"tau": 1.0, "shared_update_key": True, "fusion": NO_FUSION}
"""What a file that lacks these keys means: it was written before there were any."""

EARLIER_KEYS = ("parted", "target_model", "guidance")
"""Of configs in files of the first version; every ``stremn-lite`` has all three, no other model has one."""


@dataclass(frozen=True)
class Must:
    """What a field of a config or of settings must be, in words and as a test; part of its type."""

    said: str
    holds: Callable[[Any], bool]


def check_fields(values: Any, where: str = "") -> None:
    """Refuse a dataclass with a field that is not what its type says by :class:`Must`.

    Raises:
        StremnError: naming the field, after ``where``.
    """
    for name, kind in get_type_hints(type(values), include_extras=True).items():
        value, kinds = getattr(values, name), (kind, *get_args(kind))
        if value is None and type(None) in kinds:
            continue
        for must in (must for k in kinds for must in getattr(k, "__metadata__", ())):
            if not must.holds(value):
                raise StremnError(f"{where}{name} must be {must.said}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any, low: int, high: int | None = None) -> bool:
    return isinstance(value, int) and _is_number(value) and low <= value and (high is None or value <= high)


def whole(low: int, high: int | None = None) -> Must:
    """A whole number in these bounds."""
    bound = f"at least {low}" if high is None else f"from {low} to {high}"
    return Must(f"a whole number {bound}", lambda value: _is_whole(value, low, high))


def _wholes(low: int, high: int, count: range = range(BLOCKS, BLOCKS + 1)) -> Must:
    many = f"{count[0]} to {count[-1]}" if len(count) > 1 else count[0]
    return Must(
        f"{many} whole numbers from {low} to {high}",
        lambda value: (
            isinstance(value, tuple) and len(value) in count and all(_is_whole(n, low, high) for n in value)
        ),
    )


def _odd(high: int, *, zero: bool) -> Must:
    return Must(
        f"odd{' or 0' if zero else ''}, at most {high}",
        lambda value: _is_whole(value, 1 - zero, high) and (value % 2 == 1 or value == 0),
    )


Share = Annotated[float, Must("from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)]
FusionTargets = Annotated[str, Must(f"one of {', '.join(FUSIONS)}", lambda value: value in FUSIONS)]
_Dim = Annotated[int, whole(1, 8192)]  # more is a damaged config, and would ask for more memory than there is
_Similarity = Annotated[Similarity, Must("dot or l2", lambda value: value in get_args(Similarity))]
_Number = Annotated[float, Must("a number or nothing", _is_number)]
_Tau = Annotated[float, Must("a number above 0", lambda value: _is_number(value) and 0 < value < math.inf)]
_Flag = Annotated[bool, Must("true or false", lambda value: isinstance(value, bool))]
_Channels = Annotated[int, Must("1 (grey) or 3 (RGB)", lambda value: value in (1, 3))]
_Colour = Annotated[
    tuple[float, float, float],
    Must("three numbers", lambda v: isinstance(v, tuple) and len(v) == 3 and all(map(_is_number, v))),
]


def json_object(text: str) -> dict[str, Any]:
    """The object that a config's JSON text is.

    Raises:
        StremnError: if it is something else, or no JSON.
    """
    try:
        data = json.loads(text)
    except ValueError as error:
        raise StremnError(f"model config cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise StremnError("model config cannot be read: not a JSON object")
    return data


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class ModelConfig:
    """Base of the configs of all kinds of models.

    Attributes:
        architecture: which class of network, see :mod:`stremn.models`.
    """

    architecture: str

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        check_fields(self, "invalid model config: ")

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self))

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same config with some of its fields replaced; lists become tuples.

        Raises:
            StremnError: if there is no field of such a name, or a value cannot be.
        """
        known = [f.name for f in fields(self) if f.name != "architecture"]
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise StremnError(f"its config has no {', '.join(unknown)}; it has {', '.join(known)}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
        return replace(self, **values)

    @property
    def fingerprint(self) -> str:
        """A digest, to tell whether the state of a session is of a model; keys that came later have none."""
        return _digest(json.dumps(self._first_version()))

    def _first_version(self) -> dict[str, Any]:
        """The values that a file of the first version would have, in its order."""
        return {k: v for k, v in asdict(self).items() if k not in LATER_KEYS or v != LATER_KEYS[k]}

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of :meth:`to_json`, also for files of the first version.

        Raises:
            StremnError: if the text is no config of this version.
        """
        data = cls._of_this_version(json_object(text))
        names = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - names)
        if unknown:
            raise StremnError(f"model config has unknown keys {unknown}: upgrade stremn")
        data = {key: value for key, value in LATER_KEYS.items() if key in names} | data
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise StremnError(f"model config cannot be read: {error}") from error

    @classmethod
    def _of_this_version(cls, data: dict[str, Any]) -> dict[str, Any]:
        return data


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

    key_dim: _Dim = 128
    value_dim: _Dim = 512
    update_dim: _Dim = 128
    similarity: _Similarity = "dot"
    scale: _Number | None = None
    skip: _Flag = False
    slots: Annotated[int, whole(2)] = 6
    policy: str = "learned"
    tau: _Tau = 1.0
    shared_update_key: _Flag = False
    fusion: FusionTargets = NO_FUSION
    candidate_every: Annotated[int, whole(1)] = 1
    certainty: Share = 0.0
    size: Annotated[int, whole(0)] = 480
    mean: _Colour = (0.485, 0.456, 0.406)
    std: _Colour = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        super().__post_init__()
        get_policy(self.policy)

    @classmethod
    def _of_this_version(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Earlier files say in words what an architecture has."""
        lite = data.get("architecture") == "lite"
        for key in EARLIER_KEYS:
            if data.pop(key, lite) is not lite:
                raise StremnError(f"a model with {key!r} {not lite} was an experiment: use stremn 0.1 for it")
        return data

    @property
    def fingerprint(self) -> str:
        """A digest of the text as the first version wrote it, so that its saved states are still told."""
        values: dict[str, Any] = {}
        for name, value in self._first_version().items():
            values[name] = value
            for key in {"scale": EARLIER_KEYS[:2], "skip": EARLIER_KEYS[2:]}.get(name, ()):
                values[key] = self.architecture == "lite"
        return _digest(json.dumps(values))

    @property
    def searches_regions(self) -> bool:
        """Whether a part of a frame is enough to find an object in, see :mod:`stremn.models.region`."""
        return self.architecture == "lite"

    @property
    def layout(self) -> MemoryLayout:
        """The memory layout of K slots: one permanent, one latest, the rest chosen (Sec. 4.1.1)."""
        return MemoryLayout.of_slots(self.slots)


class SlotPredictorConfig(ModelConfig):
    """What the configs of prediction models with slot memory have in common; each has its own fields."""

    slots: int
    policy: str
    tau: float

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        super().__post_init__()
        get_policy(self.policy)

    @property
    def layout(self) -> MemoryLayout:
        """The memory layout of K slots, all of them chosen by the policy (Sec. 4.2)."""
        return MemoryLayout(permanent=False, latest=False, chosen=self.slots)


@dataclass(frozen=True)
class PredictorConfig(SlotPredictorConfig):
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

    channels: _Channels = 3
    stack: Annotated[int, whole(1, 64)] = 3
    widths: Annotated[tuple[int, ...], _wholes(1, 8192)] = (64, 64, 128, 128, 256, 256)
    strides: Annotated[tuple[int, ...], _wholes(1, 4)] = (1, 2, 1, 2, 1, 2)
    key_dim: _Dim = 128
    value_dim: _Dim = 512
    update_dim: _Dim = 128
    similarity: _Similarity = "dot"
    scale: _Number | None = None
    skip: _Flag = False
    motion: Annotated[int, _odd(15, zero=True)] = 0
    still: _Flag = True
    slots: Annotated[int, whole(1)] = 5
    policy: str = "learned"
    tau: _Tau = 1.0
    shared_update_key: _Flag = False
    size: Annotated[int, whole(0)] = 128

    @property
    def stride(self) -> int:
        """Of the memory; both sides of a frame are divisible by it."""
        return math.prod(self.strides)


@dataclass(frozen=True)
class MotionConfig(SlotPredictorConfig):
    """Everything that fixes a prediction model that foresees displacements; an addition to the paper.

    Attributes:
        architecture: ``"motion"``.
        channels: of a frame: 1 grey, 3 RGB.
        width: channels of the network that gives the shares; twice as many look for keys.
        key_dim: width Dk of keys.
        update_dim: width of the update keys of Eq. (1).
        slots: K, all of them replaceable.
        policy: default policy.
        tau: temperature of the learned choice in training, Eq. (3).
        size: default internal resolution, the most of the shorter side in pixels; 0 means the frame's own.
    """

    channels: _Channels = 3
    width: _Dim = 16
    key_dim: _Dim = 32
    update_dim: _Dim = 32
    slots: Annotated[int, whole(1)] = 5
    policy: str = "learned"
    tau: _Tau = 1.0
    size: Annotated[int, whole(0)] = 256

    @property
    def stride(self) -> int:
        """Both sides of a frame are divisible by it."""
        return 4


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

    channels: _Channels = 1
    patch: Annotated[int, whole(1, 64)] = 4
    hidden: Annotated[tuple[int, ...], _wholes(1, 8192, range(1, 65))] = (128, 64, 64)
    kernel: Annotated[int, _odd(63, zero=False)] = 5
    size: Annotated[int, whole(0)] = 0

    @property
    def stride(self) -> int:
        """Both sides of a frame are divisible by it."""
        return self.patch


@dataclass(frozen=True)
class SimVPConfig(ModelConfig):
    """Everything that fixes SimVP, the network without recurrence that Table 5 is extended by.

    Attributes:
        architecture: ``"simvp"``.
        channels: of a frame: 1 grey, 3 RGB.
        frames: M, as many as it looks at and as it draws at once.
        spatial: channels of each frame.
        temporal: channels of all of them together.
        blocks: that mix the frames.
        size: default internal resolution, the shorter side in pixels; 0 means the frame's own.
    """

    channels: _Channels = 1
    frames: Annotated[int, whole(1, 100)] = 10
    spatial: Annotated[int, whole(1, 8192)] = 16
    temporal: Annotated[int, whole(1, 8192)] = 128
    blocks: Annotated[int, whole(1, 64)] = 4
    size: Annotated[int, whole(0)] = 0

    @property
    def stride(self) -> int:
        """Both sides of a frame are divisible by it."""
        return 4
