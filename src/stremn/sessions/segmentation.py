"""Follow objects through one video, frame by frame, with constant memory."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import SlotMemory, get_policy
from stremn.models import Segmenter
from stremn.models.segmenter import ImageFeatures
from stremn.sessions.inputs import as_frame, as_object_masks, internal_size, to_input
from stremn.sessions.postprocess import REACH
from stremn.sessions.result import SegmentationResult, label_map
from stremn.sessions.segmentation_state import SavedSegmentation
from stremn.sessions.session import Session
from stremn.sessions.sight import advance_views, is_plain
from stremn.sessions.step import Rules, State, advance, compiled_advance
from stremn.sessions.view import ONE_VIEW, View

__all__ = ["SegmentationResult", "SegmentationSession"]


class SegmentationSession(Session):
    """The state of one video: slot memory, previous probabilities, object ids. No frame is kept.

    Example:
        >>> session = SegmentationSession("stremn-lite")
        >>> result = session.step(first_frame, masks=label_map)  # doctest: +SKIP
        >>> result = session.step(next_frame)  # doctest: +SKIP
        >>> result.labels  # doctest: +SKIP

    Args:
        model: a model, or what :func:`stremn.from_pretrained` takes.
        policy: which template is replaced; ``None`` is the model's default (the learned one).
        slots: K; ``None`` is the model's default.
        candidate_every: every how many frames a template competes for a chosen slot.
        certainty: least mean probability of an object's pixels for its template to be written, so that no
            template is kept while the object is hidden or lost; 0 writes every one, as the paper does.
        size: internal resolution, the shorter side in pixels; 0 is the frame's own.
        device: ``"auto"`` is CUDA, else MPS, else CPU.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"``, ``"fp16"``.
        sample: draw the learned choice with Gumbel noise, Eq. (3), instead of the plain arg max.
        seed: of the random policies and of ``sample``.
        views: how every frame is looked at; probabilities are averaged, and each view has a memory of its
            own. :data:`~stremn.sessions.MULTI_SCALE` is the multi-scale and flip testing of STReMN-MS.
        postprocess: whether parts of an object far from its previous mask are removed, see
            :func:`~stremn.sessions.postprocess.drop_far`; a number replaces its ``reach``.
        compile: run frames without new objects through ``torch.compile(fullgraph=True)``, one program for
            each number of objects, made when first needed; a string names a backend.

    Raises:
        StremnError: on unknown names, weights that cannot be read, or a policy that cannot be compiled
            (one that draws random numbers, or whose memory grows), or ``compile`` together with several
            views or post-processing.
    """

    model_class, saved_class = Segmenter, SavedSegmentation
    default_model = "stremn-lite"
    model: Segmenter

    def __init__(
        self,
        model: Segmenter | Path | str = default_model,
        *,
        policy: str | None = None,
        slots: int | None = None,
        candidate_every: int | None = None,
        certainty: float | None = None,
        size: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        sample: bool = False,
        seed: int = 0,
        views: Sequence[View] = ONE_VIEW,
        postprocess: bool | float = False,
        compile: bool | str = False,
    ) -> None:
        """See the class."""
        super().__init__(
            model,
            size=size,
            device=device,
            precision=precision,
            sample=sample,
            seed=seed,
            compiled=bool(compile),
        )
        config = self.model.config
        self.policy = get_policy(config.policy if policy is None else policy)
        slots = config.slots if slots is None else slots
        if slots < 2:
            raise StremnError(f"{slots} slots are too few: one for the first and one for the latest frame")
        self.layout = type(config.layout).of_slots(slots)
        self.candidate_every = config.candidate_every if candidate_every is None else candidate_every
        if self.candidate_every < 1:
            raise StremnError(f"candidate_every must be at least 1, not {self.candidate_every}")
        self.certainty = config.certainty if certainty is None else certainty
        if not 0 <= self.certainty <= 1:
            raise StremnError(f"certainty must be from 0 to 1, not {self.certainty}")
        self.rules = Rules(self.layout, self.policy, self.certainty, sample, self.generator)
        self.views = tuple(views)
        if not self.views or min(view.scale for view in self.views) <= 0:
            raise StremnError("a session needs one view or more, of scales above 0")
        self.reach = _reach(postprocess)
        self._advance = advance
        if compile:
            if self.reach is not None or not is_plain(self.views):
                raise StremnError("compile works with one view that is not mirrored and no post-processing")
            self._advance = compiled_advance(self.rules, "inductor" if compile is True else compile)
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        super().reset()
        self.object_ids: tuple[int, ...] = ()
        self.states: tuple[State, ...] = ()

    def encode(self, frame: Any) -> tuple[ImageFeatures, ...]:
        """What the network sees in a frame before it asks the memory, one for each view.

        About half of the work of :meth:`step`. Sessions of the same weights, device, precision, size and
        views that follow the same video with other memories can share it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
        """
        image = as_frame(frame)
        with self.runtime.active():
            return tuple(self.model.encode_image(self._input(image, view)) for view in self.views)

    def step(
        self, frame: Any, masks: Any = None, *, features: Sequence[ImageFeatures] | None = None
    ) -> SegmentationResult:
        """Take the next frame, and give the objects in it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
            masks: objects to follow from this frame on, see :func:`stremn.sessions.inputs.as_object_masks`.
                An id that is followed already starts again from the new mask.
            features: what :meth:`encode` made of the frame, if that was called already.

        Returns:
            Labels, probabilities and ids. Before any mask was given there are no objects.

        Raises:
            StremnError: if the frame's size changed or the masks do not fit; the state is then unchanged.
        """
        image = self._image(frame)
        size = image.shape[:2]
        if features is not None and len(features) != len(self.views):
            raise StremnError(f"features of {len(features)} views for a session of {len(self.views)}")
        given = {} if masks is None else as_object_masks(masks, size)
        if given:
            self.remove([i for i in given if i in self.object_ids])
        self.frame_size = size
        self.frame_index += 1
        if not given and not self.object_ids:
            return SegmentationResult(self.frame_index, np.zeros(size, np.uint8), ())
        with self.runtime.active():
            return self._step(image, given, features)

    def remove(self, object_ids: int | Iterable[int]) -> None:
        """Stop following objects. Ids that are not followed are passed over."""
        gone = {object_ids} if isinstance(object_ids, int) else set(object_ids)
        keep = [p for p, i in enumerate(self.object_ids) if i not in gone]
        if len(keep) == len(self.object_ids):
            return
        self.object_ids = tuple(self.object_ids[p] for p in keep)
        if not keep:
            self.states = ()
            return
        index = torch.tensor(keep, device=self.runtime.device)
        with torch.inference_mode():
            self.states = tuple(State(s.memory.select_objects(index), s.previous[index]) for s in self.states)

    def frames_in_memory(self) -> dict[int, list[int]]:
        """For each object id the frame index in each slot, -1 where the slot is empty (M12).

        Of the first view: policies that compare keys may choose differently in another.
        """
        if self.memory is None:
            return {}
        return dict(zip(self.object_ids, self.memory.frame_index.tolist(), strict=True))

    @property
    def state(self) -> State | None:
        """Of the first view; ``None`` before any object was given."""
        return self.states[0] if self.states else None

    @property
    def memory(self) -> SlotMemory | None:
        """Slots of the objects in the first view, ordered as ``object_ids``; ``None`` if there are none."""
        return None if self.state is None else self.state.memory

    @property
    def state_bytes(self) -> int:
        """Bytes of the state: memory and previous probabilities of every view."""
        return sum(s.memory.nbytes + s.previous.numel() * s.previous.element_size() for s in self.states)

    def _step(
        self, image: np.ndarray, given: dict[int, np.ndarray], features: Sequence[ImageFeatures] | None
    ) -> SegmentationResult:
        frames: Sequence[Tensor | ImageFeatures] = features or [
            self._input(image, view) for view in self.views
        ]
        device, masks = self.runtime.device, None
        if given:
            masks = torch.from_numpy(np.stack(list(given.values()))).unsqueeze(1).to(device).float()
        frame_index = torch.tensor(self.frame_index, device=device)
        candidate = (self.frame_index - 1) % self.candidate_every == 0
        if self.reach is None and is_plain(self.views):
            run = self._advance if masks is None else advance
            outcome = run(
                *(self.model, frames[0], frame_index, self.state, self.rules),
                candidate=candidate,
                given=masks,
            )
            labels = self._labels(outcome.logits, image.shape[:2])
            self.states, probabilities = (outcome.state,), outcome.state.previous
        else:
            sight = advance_views(
                *(self.model, frames, frame_index, self.states, self.rules),
                views=self.views,
                reach=self.reach,
                size=image.shape[:2],
                object_ids=self.object_ids,
                candidate=candidate,
                given=masks,
            )
            labels, probabilities, self.states = sight.labels, sight.probabilities, sight.states
        for object_id, mask in given.items():
            labels[mask] = object_id
        self.object_ids = (*self.object_ids, *given)
        return SegmentationResult(self.frame_index, labels, self.object_ids, probabilities)

    def _input(self, image: np.ndarray, view: View) -> Tensor:
        size = internal_size(image.shape[:2], self.size, self.model.stride, view.scale)
        return view.turn(to_input(image, size, self.runtime.device))

    def _labels(self, logits: Tensor | None, size: tuple[int, int]) -> np.ndarray:
        return np.zeros(size, np.uint8) if logits is None else label_map(logits, self.object_ids, size)


def _reach(postprocess: bool | float) -> float | None:
    """Of the post-processing, ``None`` for none."""
    if isinstance(postprocess, bool):
        return REACH if postprocess else None
    if not 0 <= postprocess < float("inf"):
        raise StremnError(f"postprocess must be True, False or a number from 0 on, not {postprocess}")
    return float(postprocess)
