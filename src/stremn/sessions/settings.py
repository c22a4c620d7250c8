"""Everything that a session can be told, once: from the command line to the saved state and the summary."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Self

from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, get_policy
from stremn.models import ModelConfig, PredictorConfig, SegmenterConfig
from stremn.sessions.postprocess import REACH
from stremn.sessions.views import ONE_VIEW, View, is_plain

__all__ = ["PredictionSettings", "SegmentationSettings", "Settings"]


KINDS: dict[str, tuple[type, str]] = {
    "policy": (str, "a name"),
    "slots": (Integral, "a whole number"),
    "size": (Integral, "a whole number"),
    "device": (str, "a name"),
    "precision": (str, "a name"),
    "sample": (bool, "True or False"),
    "seed": (Integral, "a whole number"),
    "candidate_every": (Integral, "a whole number"),
    "certainty": (Real, "a number"),
    "fusion": (str, "a name"),
}
"""What each setting must be; numbers of NumPy are taken too."""

PLAIN: dict[type, type] = {str: str, bool: bool, Integral: int, Real: float}


@dataclass(frozen=True)
class Settings:
    """What the sessions of both tasks can be told; ``None`` is the model's own.

    Attributes:
        policy: which template is replaced, a name of :data:`stremn.memory.POLICIES`.
        slots: K.
        size: internal resolution, the shorter side in pixels; 0 is the frame's own.
        device: ``"auto"`` is CUDA, else MPS, else CPU; or any name that PyTorch knows.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        sample: draw the learned choice with Gumbel noise, Eq. (3), instead of the plain arg max.
        seed: of the random policies and of ``sample``.
    """

    policy: str | None = None
    slots: int | None = None
    size: int | None = None
    device: str = "auto"
    precision: str = "auto"
    sample: bool = False
    seed: int = 0

    def changed(self, **changes: Any) -> Self:
        """The same settings with some of them replaced.

        Raises:
            StremnError: if there is no setting of such a name.
        """
        unknown = sorted(set(changes) - {field.name for field in fields(self)})
        if unknown:
            known = ", ".join(field.name for field in fields(self))
            raise StremnError(f"a session has no setting '{unknown[0]}': choose from {known}")
        return replace(self, **changes)

    def resolved(self, config: ModelConfig) -> Self:
        """The same settings with the model's own value in place of every ``None``, checked.

        Raises:
            StremnError: naming the setting that cannot be.
        """
        own: dict[str, Any] = {
            field.name: getattr(config, field.name, None)
            for field in fields(self)
            if getattr(self, field.name) is None
        }
        whole = replace(self, **own)
        plain: dict[str, Any] = {}
        for name, (kind, said) in KINDS.items():
            value = getattr(whole, name, None)
            # A model without slots has neither; and prediction has no other settings of segmentation.
            if value is None and (name in ("policy", "slots") or not hasattr(whole, name)):
                continue
            if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
                raise StremnError(f"{name} must be {said}, not {value!r}")
            plain[name] = PLAIN[kind](value)
        whole = replace(whole, **plain)
        if whole.size is None or whole.size < 0:
            raise StremnError(f"size {whole.size} is not possible: give pixels of the shorter side, or 0")
        if not 0 <= whole.seed < 2**63:
            raise StremnError(f"seed must be from 0 to 2**63 - 1, not {whole.seed}")
        if whole.policy is not None:
            get_policy(whole.policy)
        return whole

    def to_dict(self) -> dict[str, Any]:
        """JSON values, which :meth:`from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`; keys that are no settings are passed over."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class SegmentationSettings(Settings):
    """Everything that a segmentation session can be told; ``None`` is the model's own.

    Attributes:
        candidate_every: every how many frames a template competes for a chosen slot.
        certainty: least mean probability of an object's pixels for its template to be written, so that no
            template is kept while the object is hidden or lost; 0 writes every one, as the paper does.
        fusion: which templates take up what a replaced one held (Appendix B), one of
            :data:`stremn.memory.FUSIONS`; needs weights that were trained with one.
        views: how every frame is looked at; probabilities are averaged, and each view has a memory of its
            own. :data:`~stremn.sessions.MULTI_SCALE` is the multi-scale and flip testing of STReMN-MS (V7).
        postprocess: whether parts of an object far from its previous mask are removed (V6), see
            :func:`~stremn.sessions.postprocess.drop_far`; a number replaces its ``reach``.
        compile: run frames without new objects through ``torch.compile(fullgraph=True)``, one program for
            each number of objects, made when first needed; a string names a backend.

    Examples:
        >>> SegmentationSettings(size=240, seed=3).changed(slots=4).slots
        4
    """

    candidate_every: int | None = None
    certainty: float | None = None
    fusion: str | None = None
    views: tuple[View, ...] = ONE_VIEW
    postprocess: bool | float = False
    compile: bool | str = False

    def resolved(self, config: ModelConfig) -> Self:
        """The same settings, whole and checked; slots are at least 2, for the first and the latest frame.

        Raises:
            StremnError: naming the setting that cannot be.
        """
        assert isinstance(config, SegmenterConfig)
        whole = replace(super().resolved(config), views=tuple(self.views))
        assert whole.slots is not None
        assert whole.candidate_every is not None
        assert whole.certainty is not None
        if whole.slots < 2:
            raise StremnError(
                f"{whole.slots} slots are too few: one for the first and one for the latest frame"
            )
        if whole.fusion not in FUSIONS:
            raise StremnError(f"there is no fusion '{whole.fusion}': choose from {', '.join(FUSIONS)}")
        if whole.fusion != NO_FUSION and config.fusion == NO_FUSION:
            raise StremnError(f"fusion '{whole.fusion}' needs weights that were trained with a fusion module")
        if whole.candidate_every < 1:
            raise StremnError(f"candidate_every must be at least 1, not {whole.candidate_every}")
        if not 0 <= whole.certainty <= 1:
            raise StremnError(f"certainty must be from 0 to 1, not {whole.certainty}")
        if not whole.views or min(view.scale for view in whole.views) <= 0:
            raise StremnError("a session needs one view or more, of scales above 0")
        if not isinstance(whole.postprocess, Real) or not 0 <= whole.postprocess < float("inf"):
            raise StremnError(
                f"postprocess must be True, False or a number from 0 on, not {whole.postprocess}"
            )
        if whole.compile and (whole.reach is not None or not is_plain(whole.views)):
            raise StremnError("compile works with one view that is not mirrored and no post-processing")
        return whole

    @property
    def reach(self) -> float | None:
        """Of the post-processing, ``None`` for none."""
        if isinstance(self.postprocess, bool):
            return REACH if self.postprocess else None
        return float(self.postprocess)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`Settings.to_dict`; keys that are no settings are passed over."""
        views = values.get("views", ONE_VIEW)
        return super().from_dict(
            {**values, "views": tuple(v if isinstance(v, View) else View(**v) for v in views)}
        )


@dataclass(frozen=True)
class PredictionSettings(Settings):
    """Everything that a prediction session can be told; ``None`` is the model's own.

    A model without slots has neither a policy nor a number of slots.
    """

    def resolved(self, config: ModelConfig) -> Self:
        """The same settings, whole and checked.

        Raises:
            StremnError: naming the setting that cannot be, or that a model without slots has not.
        """
        if not isinstance(config, PredictorConfig):
            if self.slots is not None or self.policy is not None:
                raise StremnError(f"a model '{config.architecture}' has no memory slots and no policy")
            if self.sample:
                raise StremnError(f"a model '{config.architecture}' has no choice of slots to sample")
        whole = super().resolved(config)
        if whole.slots is not None and whole.slots < 1:
            raise StremnError(f"{whole.slots} slots are too few: give 1 or more")
        return whole
