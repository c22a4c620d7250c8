"""Everything that a session can be told, once: from the command line to the saved state and the summary."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Self

import numpy as np

from stremn.errors import StremnError
from stremn.memory import NO_FUSION, get_policy
from stremn.models import ModelConfig, MotionConfig, PredictorConfig, SegmenterConfig
from stremn.models.config import FusionTargets, Must, Share, check_fields, whole
from stremn.runtime import Runtime
from stremn.sessions.postprocess import REACH
from stremn.sessions.views import ONE_VIEW, View, is_plain

__all__ = ["PredictionSettings", "SegmentationSettings", "Settings"]


_Name = Annotated[str, Must("a name", lambda value: isinstance(value, str))]
_Flag = Annotated[bool, Must("True or False", lambda value: isinstance(value, bool))]


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

    policy: _Name | None = None
    slots: Annotated[int, whole(1)] | None = None
    size: Annotated[int, whole(0, 2**14)] | None = None
    device: _Name = "auto"
    precision: _Name = "auto"
    sample: _Flag = False
    seed: Annotated[int, whole(0, 2**63 - 1)] = 0

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
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if value is None:
                values[name] = getattr(config, name, None)
            elif isinstance(value, np.generic):
                values[name] = value.item()
        resolved = replace(self, **values)
        check_fields(resolved)
        if resolved.policy is not None:
            get_policy(resolved.policy)
        return resolved

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
        slots: K, at least 2: one for the first and one for the latest frame.
        candidate_every: every how many frames a template competes for a chosen slot.
        certainty: least mean probability of an object's pixels for its template to be written, so that no
            template is kept while the object is hidden or lost; 0 writes every one, as the paper does.
        fusion: which templates take up what a replaced one held (Appendix B), one of
            :data:`stremn.memory.FUSIONS`; needs weights that were trained with one.
        views: how every frame is looked at; probabilities are averaged, and each view has a memory of its
            own. :data:`~stremn.sessions.MULTI_SCALE` is the multi-scale and flip testing of STReMN-MS (V7).
        postprocess: whether parts of an object far from its previous mask are removed (V6), see
            :func:`~stremn.sessions.postprocess.drop_far`; a number replaces its ``reach``.
        search_region: whether each object is looked for around where it was instead of in all of the frame,
            and in two frames of three no more than a window around all of them is looked at (with one view,
            without post-processing), see :mod:`stremn.models.region`; ``None`` is where that is faster:
            ``stremn-lite`` on a CPU, not compiled.
        crop: whether small objects are followed in a crop that goes along with them, see
            :mod:`stremn.sessions.crop`; ``None`` is where no ``size`` is given: ``stremn-lite``, one view,
            not compiled, no post-processing.
        associate: whether parts of look-alikes that have met are given to one object each, see
            :mod:`stremn.sessions.association`; ``None`` is where a crop could be.
        compile: run frames without new objects through ``torch.compile(fullgraph=True)``, one program for
            each number of objects, made when first needed; a string names a backend.

    Examples:
        >>> SegmentationSettings(size=240, seed=3).changed(slots=4).slots
        4
    """

    slots: Annotated[int, whole(2)] | None = None
    candidate_every: Annotated[int, whole(1)] | None = None
    certainty: Share | None = None
    fusion: FusionTargets | None = None
    views: Annotated[
        tuple[View, ...],
        Must(
            "views, see View", lambda v: isinstance(v, (tuple, list)) and all(isinstance(o, View) for o in v)
        ),
    ] = ONE_VIEW
    postprocess: Annotated[
        bool | float,
        Must(
            "True, False or a number from 0 on", lambda v: isinstance(v, (int, float)) and 0 <= v < math.inf
        ),
    ] = False
    search_region: _Flag | None = None
    crop: _Flag | None = None
    associate: _Flag | None = None
    compile: bool | str = False

    def changed(self, **changes: Any) -> Self:
        """The same settings with some of them replaced.

        Where ``compile``, ``views`` or ``postprocess`` are asked for, ``search_region``, ``crop`` and
        ``associate`` that were on are the model's own again: not all of them go together.

        Raises:
            StremnError: if there is no setting of such a name.
        """
        if any(changes.get(name) for name in ("compile", "views", "postprocess")):
            plain = ("search_region", "crop", "associate")
            changes = {name: None for name in plain if getattr(self, name)} | changes
        return super().changed(**changes)

    def resolved(self, config: ModelConfig) -> Self:
        """The same settings, whole and checked.

        Raises:
            StremnError: naming the setting that cannot be.
        """
        assert isinstance(config, SegmenterConfig)
        resolved = replace(super().resolved(config), views=tuple(self.views))
        if resolved.fusion != NO_FUSION and config.fusion == NO_FUSION:
            raise StremnError(
                f"fusion '{resolved.fusion}' needs weights that were trained with a fusion module"
            )
        if not resolved.views or min(view.scale for view in resolved.views) <= 0:
            raise StremnError("a session needs one view or more, of scales above 0")
        can = config.searches_regions and not resolved.compile
        if resolved.search_region is None:
            faster = can and Runtime.choose(resolved.device).device.type == "cpu"
            resolved = replace(resolved, search_region=faster)
        if resolved.search_region and not can:
            what = "a compiled session" if resolved.compile else f"a model '{config.architecture}'"
            raise StremnError(f"{what} looks at all of a frame: leave search_region out")
        plain = can and resolved.plain
        if resolved.crop is None:
            resolved = replace(resolved, crop=plain and self.size is None)
        if resolved.associate is None:
            resolved = replace(resolved, associate=plain)
        for name in ("crop", "associate"):
            if getattr(resolved, name) and not plain:
                raise StremnError(
                    f"{name} needs a model like stremn-lite, one view that is not mirrored, no "
                    f"post-processing and nothing compiled: leave {name} out"
                )
        if resolved.compile and not resolved.plain:
            raise StremnError("compile works with one view that is not mirrored and no post-processing")
        return resolved

    @property
    def reach(self) -> float | None:
        """Of the post-processing, ``None`` for none."""
        if isinstance(self.postprocess, bool):
            return REACH if self.postprocess else None
        return float(self.postprocess)

    @property
    def plain(self) -> bool:
        """Whether there is one view that is not mirrored, and no post-processing."""
        return self.reach is None and is_plain(self.views)

    @property
    def windows(self) -> bool:
        """Whether no more than a window around the objects is looked at."""
        return bool(self.search_region) and self.plain

    @property
    def sees_all(self) -> bool:
        """Whether all of every frame is looked at, so that several sessions can share what they see of it."""
        return not self.crop and not self.windows

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

    Attributes:
        readout: False puts zeros in the place of all that is read from the memory, to measure what that is
            worth.
    """

    readout: _Flag = True

    def resolved(self, config: ModelConfig) -> Self:
        """The same settings, whole and checked.

        Raises:
            StremnError: naming the setting that cannot be, or that a model without slots has not.
        """
        if not isinstance(config, (PredictorConfig, MotionConfig)):
            if self.slots is not None or self.policy is not None:
                raise StremnError(f"a model '{config.architecture}' has no memory slots and no policy")
            if self.sample:
                raise StremnError(f"a model '{config.architecture}' has no choice of slots to sample")
            if not self.readout:
                raise StremnError(f"a model '{config.architecture}' has no memory slots to read")
        return super().resolved(config)
