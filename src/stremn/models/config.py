"""What a checkpoint must say of its model: a frozen dataclass that becomes JSON and back."""

import json
from dataclasses import asdict, dataclass, fields

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, get_policy
from stremn.ops.read import Similarity

__all__ = ["SegmenterConfig"]


@dataclass(frozen=True)
class SegmenterConfig:
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
        guidance: whether the decoder sees the previous frame's probabilities.
        slots: K, all slots of an object.
        policy: default policy.
        candidate_every: every how many frames the previous latest template competes for a chosen slot.
        size: default internal resolution, the shorter side in pixels; 0 means the frame's own.
        mean: per-channel mean taken from RGB in [0, 1].
        std: per-channel divisor after that.
    """

    architecture: str
    key_dim: int = 128
    value_dim: int = 512
    update_dim: int = 128
    similarity: Similarity = "dot"
    scale: float | None = None
    skip: bool = False
    guidance: bool = False
    slots: int = 6
    policy: str = "learned"
    candidate_every: int = 5
    size: int = 480
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        """Refuse what no model can be built from."""
        get_policy(self.policy)
        if self.slots < 2 or self.candidate_every < 1 or self.size < 0:
            raise StremnError(
                f"invalid model config: slots {self.slots} (at least 2), candidate_every "
                f"{self.candidate_every} (at least 1), size {self.size} (at least 0)"
            )

    @property
    def layout(self) -> MemoryLayout:
        """The memory layout of K slots: one permanent, one latest, the rest chosen (Sec. 4.1.1)."""
        return MemoryLayout.of_slots(self.slots)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SegmenterConfig":
        """The inverse of :meth:`to_json`.

        Raises:
            StremnError: if the text is no config of this version.
        """
        try:
            data = json.loads(text)
            unknown = set(data) - {f.name for f in fields(cls)}
            if unknown:
                raise StremnError(f"model config has unknown keys {sorted(unknown)}: upgrade stremn")
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
        except (ValueError, TypeError) as error:
            raise StremnError(f"model config cannot be read: {error}") from error
