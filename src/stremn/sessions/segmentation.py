"""Follow objects through one video, frame by frame, with constant memory."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, Rules, SlotMemory, get_policy
from stremn.models import ImageFeatures, SegmentationState, Segmenter
from stremn.sessions.association import Association, Track
from stremn.sessions.compiled import compiled_step
from stremn.sessions.confidence import CHECK_EVERY, SURE, check
from stremn.sessions.crop import Crop
from stremn.sessions.inputs import as_frame, as_frame_index, as_object_ids, as_object_masks
from stremn.sessions.labels import label_map
from stremn.sessions.result import SegmentationResult
from stremn.sessions.session import Session
from stremn.sessions.settings import SegmentationSettings
from stremn.sessions.viewport import Viewport
from stremn.sessions.views import Consensus

__all__ = ["SegmentationResult", "SegmentationSession"]

TAKEN = -8.0
"""Logit of an object where a part of its own was given to another."""

LATEST = ("frame", "labels")
"""Tensors of a saved session, by which its latest frame can be corrected."""


class SegmentationSession(Session):
    """The state of one video: slot memory, previous probabilities, object ids, and the latest frame.

    Examples:
        >>> import numpy as np
        >>> session = SegmentationSession("stremn-lite", size=64)
        >>> frame = np.zeros((64, 96, 3), np.uint8)
        >>> frame[20:40, 30:60] = 255
        >>> mask = (frame[:, :, 0] > 0).astype(np.uint8)
        >>> result = session.step(frame, masks=mask)
        >>> session.step(frame).labels.shape
        (64, 96)

    Args:
        model: a model, or what :func:`stremn.from_pretrained` takes.
        settings: how to follow; ``None`` is what the model says.
        **changes: fields of :class:`SegmentationSettings`, in place of those of ``settings``.

    Raises:
        StremnError: on unknown names, weights that cannot be read, or a policy that cannot be compiled
            (one that draws random numbers, or whose memory grows), or ``compile`` together with several
            views or post-processing.
    """

    model_class, settings_class = Segmenter, SegmentationSettings
    default_model, key = "stremn-lite", "stremn_session"
    model: Segmenter
    settings: SegmentationSettings

    def __init__(
        self,
        model: Segmenter | Path | str = default_model,
        settings: SegmentationSettings | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(model, settings, changes)
        chosen = self.settings
        assert chosen.slots is not None
        assert chosen.policy is not None
        assert chosen.certainty is not None
        layout = MemoryLayout.of_slots(chosen.slots)
        policy = get_policy(chosen.policy)
        assert chosen.fusion is not None
        assert chosen.candidate_every is not None
        self.rules = Rules(
            layout,
            policy,
            chosen.certainty,
            chosen.sample,
            self.generator,
            self.model.config.tau,
            chosen.fusion,
            chosen.candidate_every,
        )
        backend = "inductor" if chosen.compile is True else chosen.compile
        self._compiled = compiled_step(self.rules, backend) if backend else None
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        super().reset()
        self.object_ids: tuple[int, ...] = ()
        self.states: tuple[SegmentationState, ...] = ()
        self.rules = replace(self.rules, layout=replace(self.rules.layout, corrections=0))
        self._latest: tuple[np.ndarray, np.ndarray] | None = None
        self._viewport = Viewport(self.model, self.settings, self.runtime.device)
        self._confidence: dict[int, float] = {}
        self._association = Association()

    def encode(self, frame: Any) -> tuple[ImageFeatures, ...]:
        """What the network sees in a frame before it asks the memory, one for each view.

        About half of the work of :meth:`step`. Sessions of the same weights, device, precision, size and
        views that follow the same video with other memories can share it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
        """
        image = as_frame(frame)
        with self.runtime.active():
            return self._viewport.encode_all(image)

    def step(
        self,
        frame: Any,
        masks: Any = None,
        *,
        features: Sequence[ImageFeatures] | None = None,
        frame_index: int | None = None,
    ) -> SegmentationResult:
        """Take the next frame, and give the objects in it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
            masks: objects to follow from this frame on, see :func:`stremn.sessions.inputs.as_object_masks`.
                An id that is followed already starts again from the new mask.
            features: what :meth:`encode` made of the frame, if that was called already.
            frame_index: number of the frame in its video, larger than that of the frame before; ``None`` is
                the next one. Numbers are left out where frames were lost.

        Returns:
            Labels, probabilities and ids. Before any mask was given there are no objects.

        Raises:
            StremnError: if the frame's size changed, its number did not grow or the masks do not fit; the
                state is then unchanged.
        """
        image = self._image(frame)
        size = (image.shape[0], image.shape[1])
        index = self.frame_index + 1 if frame_index is None else as_frame_index(frame_index)
        if index <= self.frame_index:
            raise StremnError(f"frame {index} comes after frame {self.frame_index}: frame numbers must grow")
        if features is not None and len(features) != len(self.settings.views):
            raise StremnError(
                f"features of {len(features)} views for a session of {len(self.settings.views)}"
            )
        given = {} if masks is None else as_object_masks(masks, size)
        if given:
            self.remove([i for i in given if i in self.object_ids])
            if self.object_ids:
                self._leave_crop()
            elif features is None:
                self._viewport.begin(given.values())
            self._viewport.tell_tiny(given)
        before, self.frame_index, self.frame_size = self.frame_index, index, size
        if not given and not self.object_ids:
            self._latest = image.copy(), np.zeros(size, np.uint8)
            return SegmentationResult(index, self._latest[1].copy(), ())
        self._latest = None  # or two frames would be held while this one is looked at
        candidate = self.rules.candidate(index, before)
        with self.runtime.active():
            checked = bool(self.object_ids) and index // CHECK_EVERY > before // CHECK_EVERY
            if not given and len(self.object_ids) == len(self.states) == 1:
                self.states = (self._viewport.search(image, self.states[0], self.rules.certainty),)
            labels, probabilities = self._observe(image, given, features, candidate, checked)
        for object_id, mask in given.items():
            labels[mask] = object_id
        self._confidence |= dict.fromkeys(given, 1.0)
        self._association.begin(given)
        self.object_ids = (*self.object_ids, *given)
        self._latest = image.copy(), labels.copy()
        result = self._result(labels, probabilities)
        if len(self.object_ids) > 1 and any(result.lost.values()):
            self._leave_crop()
        self._go_along(labels > 0)
        return result

    def correct(self, masks: Any) -> SegmentationResult:
        """Take other masks for the latest frame, from which the objects go on.

        The template of a corrected object stays like that of the frame where it was given, of the last two
        corrections; templates since then that may hold the error are dropped. Others stay as they are, but
        for the pixels that corrected ones take from them. The memory grows by a slot at each of the first
        two corrections of a video, and never again.

        Args:
            masks: objects to correct, see :func:`stremn.sessions.inputs.as_object_masks`; ids that are not
                followed yet are from this frame on. In a mapping, an empty mask says that a followed object
                is not to be seen in the frame.

        Returns:
            What :meth:`step` returned of the frame, corrected.

        Raises:
            StremnError: if there was no frame yet, or the masks do not fit; the state is then unchanged.

        Examples:
            >>> import numpy as np
            >>> session, frame = SegmentationSession("stremn-lite", size=64), np.zeros((64, 96, 3), np.uint8)
            >>> mask = np.zeros((64, 96), np.uint8)
            >>> mask[20:40, 30:60] = 1
            >>> _ = session.step(frame, masks=mask), session.step(frame)
            >>> session.correct({1: mask > 0}).labels.sum()
            np.uint64(600)
            >>> session.frames_in_memory()
            {1: [0, 1, 1, -1, -1, -1, -1]}
        """
        if self._latest is None:
            raise StremnError("there is no frame to correct: call step() first")
        image, labels = self._latest
        size = (image.shape[0], image.shape[1])
        given = as_object_masks(masks, size, empty=True)
        known = [i for i in given if i in self.object_ids]
        if empty := [i for i in given if i not in known and not given[i].any()]:
            raise StremnError(f"the mask of object {empty[0]}, which is not followed, is empty")
        if known == list(given) and len(self.object_ids) == 1:
            self._go_along(given[known[0]])
        else:
            self._leave_crop()
        self._viewport.tell_tiny(given)
        given = {i: given[i] for i in [*known, *(i for i in given if i not in known)]}
        with self.runtime.active():
            stacked = self._viewport.masks(given.values())
            self.states = self.model.correct(
                self._viewport.encode(image),
                *(self.states, self.rules, torch.tensor(self.frame_index, device=self.runtime.device)),
                given=[view.turn(stacked) for view in self.settings.views],
                corrected=[self.object_ids.index(i) for i in known],
            )
        self.rules = replace(self.rules, layout=self.states[0].memory.layout)
        self.object_ids = (*self.object_ids, *(i for i in given if i not in known))
        labels[np.isin(labels, known)] = 0
        for object_id, mask in given.items():
            labels[mask] = object_id
            self._confidence[object_id] = float(mask.any())
        self._association.begin(given)
        probabilities = self.settings.views[0].turn(self.states[0].previous)
        return self._result(labels.copy(), probabilities)

    def _result(self, labels: np.ndarray, probabilities: Tensor) -> SegmentationResult:
        confidence = {i: self._confidence[i] for i in self.object_ids}
        return SegmentationResult(
            self.frame_index, labels, self.object_ids, confidence, probabilities, self._viewport.crop
        )

    def remove(self, object_ids: int | Iterable[int]) -> None:
        """Stop following objects. Ids that are not followed are passed over.

        Raises:
            StremnError: if something is no id.
        """
        gone = as_object_ids(object_ids)
        keep = [p for p, i in enumerate(self.object_ids) if i not in gone]
        if len(keep) == len(self.object_ids):
            return
        self.object_ids = tuple(self.object_ids[p] for p in keep)
        self._association.forget(gone)
        if not keep:
            self.states, self._viewport.crop = (), None
            return
        index = torch.tensor(keep, device=self.runtime.device)
        with torch.inference_mode():
            self.states = tuple(state.select_objects(index) for state in self.states)

    def frames_in_memory(self) -> dict[int, list[int]]:
        """For each object id the frame index in each slot, -1 where the slot is empty (M12).

        Of the first view: policies that compare keys may choose differently in another.
        """
        if self.memory is None:
            return {}
        return dict(zip(self.object_ids, self.memory.frame_index.tolist(), strict=True))

    @property
    def memory(self) -> SlotMemory | None:
        """Slots of the objects in the first view, ordered as ``object_ids``; ``None`` if there are none."""
        return self.states[0].memory if self.states else None

    @property
    def state_bytes(self) -> int:
        """Bytes of the state: memory and previous probabilities of every view."""
        return sum(state.nbytes for state in self.states)

    def _observe(
        self,
        image: np.ndarray,
        given: dict[int, np.ndarray],
        features: Sequence[ImageFeatures] | None,
        candidate: bool,
        checked: bool,
    ) -> tuple[np.ndarray, Tensor]:
        """Labels of the objects known before, and probabilities of all."""
        viewport, views, whole = self._viewport, self.settings.views, (image.shape[0], image.shape[1])
        size = viewport.size(whole)
        masks = viewport.masks(given.values()) if given else None
        index = torch.tensor(self.frame_index, device=self.runtime.device)
        reach = self.settings.reach
        near = self._near(checked)
        if self._compiled is not None and masks is None and features is None:
            step = (self.model, viewport.shown(image, views[0]), self.states, self.rules, index, candidate)
            seen, logits, self.states = self._compiled(*step)
        elif self.settings.plain:
            if features is None or viewport.crop:
                # A check asks whether the object may be elsewhere, so it sees all of the frame.
                known = self.states and masks is None and not checked
                seen = viewport.encode(image, self.states[0].previous if known else None, near)
            else:
                seen = tuple(features)
            new = () if masks is None else [masks]
            logits, self.states = self.model.observe(
                *(seen, self.states, self.rules, index),
                given=new,
                candidate=candidate,
                near=near,
                settle=partial(self._settled, seen, new, whole) if self.settings.associate else None,
            )
        else:
            seen = viewport.encode(image) if features is None else features
            consensus = Consensus(views, seen, self.states, size, self.object_ids, reach, masks)
            _, self.states = self.model.observe(
                *(seen, self.states, self.rules, index),
                given=() if masks is None else [view.turn(masks) for view in views],
                candidate=candidate,
                near=near,
                settle=consensus,
            )
            if checked:
                self._check(seen[0])
            return consensus.labels, consensus.probabilities
        if checked:
            self._check(seen[0])
        del seen  # so that its memory is free for the labels
        labels = label_map(logits[0], self.object_ids, size) if logits else np.zeros(size, np.uint8)
        return viewport.paste(labels, whole), self.states[0].previous

    def _settled(
        self,
        features: Sequence[ImageFeatures],
        given: Sequence[Tensor],
        size: tuple[int, int],
        logits: Sequence[Tensor],
    ) -> list[Tensor]:
        """Give parts of a frame ``(H, W)`` to one object each where they are confused; changes the logits."""
        for maps in logits:
            height, width = maps.shape[-2:]
            ids = self.object_ids
            found = label_map(maps, ids, (height, width))
            labels = self._association.settle(found, ids, self._viewport.grid(size, height))
            if labels is found:
                continue
            was, now = (torch.from_numpy(of).to(maps.device) for of in (found, labels))
            best = maps.amax(dim=0)[0]
            for object_id, own in zip(ids, maps[:, 0], strict=True):
                own[(was == object_id) & (now != object_id)] = TAKEN
                own[:] = torch.where((now == object_id) & (was != object_id), best, own)
        return self.model.settled(logits, given, features)

    def _go_along(self, mask: np.ndarray) -> None:
        """Bring the crop to where the objects are ``(H, W)``, or leave it if they are too large for it."""
        if not self._viewport.go_along(mask):
            self._leave_crop()

    def _leave_crop(self) -> None:
        """Go on in all of the frame."""
        if self._viewport.crop is not None:
            assert self.frame_size is not None
            self.states = (self._viewport.leave(self.states[0], self.frame_size),)

    def _near(self, checked: bool) -> list[bool]:
        """Of each object whether it is looked for only around where it was; none if all are in all.

        One that the session is not sure of is looked for anywhere, but if there are others only in a frame
        whose confidence is checked: it is not to keep the window from them.
        """
        if not self.settings.search_region:
            return []
        beside = len(self.object_ids) > 1 and not checked
        return [beside or self._confidence[i] >= SURE for i in self.object_ids]

    def _check(self, features: ImageFeatures) -> None:
        """Bring the confidence in the objects known before this frame up to date."""
        known = torch.arange(len(self.object_ids), device=self.runtime.device)
        state = self.states[0]
        state = state if len(known) == len(state.previous) else state.select_objects(known)
        before = torch.tensor([self._confidence[i] for i in self.object_ids], device=known.device)
        now = check(self.model, features, state, before).tolist()
        self._confidence |= zip(self.object_ids, now, strict=True)

    def _facts(self) -> dict[str, Any]:
        reach = self.settings.reach
        return {
            "layout": asdict(self.rules.layout),
            "postprocess": False if reach is None else reach,
            "object_ids": self.object_ids,
            "cropped": self._viewport.crop and asdict(self._viewport.crop),
            "confidence": [self._confidence[i] for i in self.object_ids],
            "tracks": {i: asdict(track) for i, track in self._association.tracks.items()},
        }

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {}
        for view, state in enumerate(self.states):
            tensors[_prefix(view) + "previous"] = state.previous
            tensors |= {f"{_prefix(view)}memory.{name}": t for name, t in state.memory.tensors().items()}
        if self._latest is not None:
            tensors |= {name: torch.from_numpy(a) for name, a in zip(LATEST, self._latest)}
        return tensors

    def _fill(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self.object_ids = tuple(facts["object_ids"])
        # What was saved before there was a confidence begins anew.
        sure = facts.get("confidence", [1.0] * len(self.object_ids))
        self._confidence = dict(zip(self.object_ids, sure, strict=True))
        tracks = facts.get("tracks", {})
        self._association = Association({int(i): Track(**track) for i, track in tracks.items()})
        layout = MemoryLayout(**facts["layout"])
        self.rules = replace(self.rules, layout=layout)
        crop = facts.get("cropped")
        self._viewport.crop = Crop(**crop) if crop else None
        if LATEST[0] in tensors:  # not in what was saved before there were corrections
            frame, labels = (tensors[name].clone().numpy() for name in LATEST)
            self._latest = frame, labels
        if "previous" in tensors:
            self.states = tuple(
                SegmentationState(
                    SlotMemory(layout, **self._memory_below(f"{_prefix(view)}memory.", tensors, facts)),
                    tensors[f"{_prefix(view)}previous"].to(self.runtime.device, copy=True),
                )
                for view in range(len(self.settings.views))
            )
        if not self.settings.crop:
            self._leave_crop()


def _prefix(view: int) -> str:
    return f"{view}." if view else ""
