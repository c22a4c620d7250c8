"""Follow objects through one video, frame by frame, with constant memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.memory import SlotMemory, Template, get_policy
from stremn.models import Segmenter, from_pretrained
from stremn.sessions.inputs import as_frame, as_object_masks, internal_size, to_input
from stremn.sessions.runtime import Runtime

__all__ = ["SegmentationResult", "SegmentationSession"]


@dataclass(frozen=True)
class SegmentationResult:
    """What a session found in one frame.

    Attributes:
        frame_index: position of the frame in the stream, from 0.
        labels: object id of every pixel ``(H, W)`` uint8, 0 = background, at the frame's own size.
        object_ids: the objects followed, in the order of ``probabilities``.
    """

    frame_index: int
    labels: np.ndarray
    object_ids: tuple[int, ...]
    _coarse: Tensor | None = None

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of each object at each pixel ``(O, H, W)`` float32; the rest to 1 is background."""
        if self._coarse is None:
            return np.zeros((0, *self.labels.shape), np.float32)
        fine = F.interpolate(
            self._coarse.float(), size=self.labels.shape, mode="bilinear", align_corners=False
        )
        return fine[:, 0].cpu().numpy()


class SegmentationSession:
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
        size: internal resolution, the shorter side in pixels; 0 is the frame's own.
        device: ``"auto"`` is CUDA, else MPS, else CPU.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"``, ``"fp16"``.
        sample: draw the learned choice with Gumbel noise, Eq. (3), instead of the plain arg max.
        seed: of the random policies and of ``sample``.

    Raises:
        StremnError: on unknown names, or weights that cannot be read.
    """

    def __init__(
        self,
        model: Segmenter | str = "stremn-lite",
        *,
        policy: str | None = None,
        slots: int | None = None,
        candidate_every: int | None = None,
        size: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        sample: bool = False,
        seed: int = 0,
    ) -> None:
        """See the class."""
        self.runtime = Runtime.choose(device, precision)
        model = from_pretrained(model) if not isinstance(model, Segmenter) else model
        self.model = model.to(self.runtime.device, memory_format=torch.channels_last).eval()
        config = model.config
        self.policy = get_policy(config.policy if policy is None else policy)
        slots = config.slots if slots is None else slots
        if slots < 2:
            raise StremnError(f"{slots} slots are too few: one for the first and one for the latest frame")
        self.layout = type(config.layout).of_slots(slots)
        self.candidate_every = config.candidate_every if candidate_every is None else candidate_every
        self.size = config.size if size is None else size
        if self.candidate_every < 1 or self.size < 0:
            raise StremnError("candidate_every must be at least 1 and size at least 0")
        self.sample, self.seed = sample, seed
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame is the first of a new video."""
        self.frame_index = -1
        self.frame_size: tuple[int, int] | None = None
        self.object_ids: tuple[int, ...] = ()
        self.memory: SlotMemory | None = None
        self.previous: Tensor | None = None
        self.generator = torch.Generator().manual_seed(self.seed)

    def step(self, frame: Any, masks: Any = None) -> SegmentationResult:
        """Take the next frame, and give the objects in it.

        Args:
            frame: see :func:`stremn.sessions.inputs.as_frame`.
            masks: objects to follow from this frame on, see :func:`stremn.sessions.inputs.as_object_masks`.
                An id that is followed already starts again from the new mask.

        Returns:
            Labels, probabilities and ids. Before any mask was given there are no objects.

        Raises:
            StremnError: if the frame's size changed or the masks do not fit; the state is then unchanged.
        """
        image = as_frame(frame)
        size = image.shape[:2]
        if self.frame_size not in (None, size):
            was = self.frame_size or size
            raise StremnError(
                f"frame {self.frame_index + 1} is {size[1]}×{size[0]} pixels, the frames before were "
                f"{was[1]}×{was[0]}: call reset() to begin another video"
            )
        given = {} if masks is None else as_object_masks(masks, size)
        if given:
            self.remove([i for i in given if i in self.object_ids])
        self.frame_size = size
        self.frame_index += 1
        if not given and not self.object_ids:
            return SegmentationResult(self.frame_index, np.zeros(size, np.uint8), ())
        with self.runtime.active():
            return self._step(image, given)

    def remove(self, object_ids: int | Iterable[int]) -> None:
        """Stop following objects. Ids that are not followed are passed over."""
        gone = {object_ids} if isinstance(object_ids, int) else set(object_ids)
        keep = [p for p, i in enumerate(self.object_ids) if i not in gone]
        if len(keep) == len(self.object_ids):
            return
        self.object_ids = tuple(self.object_ids[p] for p in keep)
        if not keep:
            self.memory = self.previous = None
        elif self.memory is not None and self.previous is not None:
            index = torch.tensor(keep, device=self.runtime.device)
            with torch.inference_mode():
                self.memory, self.previous = self.memory.select_objects(index), self.previous[index]

    def frames_in_memory(self) -> dict[int, list[int]]:
        """For each object id the frame index in each slot, -1 where the slot is empty (M12)."""
        if self.memory is None:
            return {}
        return dict(zip(self.object_ids, self.memory.frame_index.tolist(), strict=True))

    @property
    def state_bytes(self) -> int:
        """Bytes of the state: memory and previous probabilities."""
        if self.memory is None or self.previous is None:
            return 0
        return self.memory.nbytes + self.previous.numel() * self.previous.element_size()

    def _step(self, image: np.ndarray, given: dict[int, np.ndarray]) -> SegmentationResult:
        size = image.shape[:2]
        inner = internal_size(size, self.size, self.model.stride)
        frames = to_input(image, inner, self.runtime.device)
        features = self.model.encode_image(frames)
        owner = self._owner(len(self.object_ids))
        logits = probabilities = None
        if self.memory is not None:
            readout = self.model.read(features, self.memory, owner)
            logits = self.model.decode(features, readout, owner, self.previous).float()
            probabilities = self.model.aggregate(logits, owner, 1)
        labels = self._labels(logits, size)
        if given:
            probabilities = self._with_given(probabilities, given, features.maps[0].shape[-2:])
            for object_id, mask in given.items():
                labels[mask] = object_id
        assert probabilities is not None
        template = self.model.encode_template(features, probabilities, self._owner(len(probabilities)))
        self._remember(template, list(given))
        self.previous = probabilities
        return SegmentationResult(self.frame_index, labels, self.object_ids, probabilities)

    def _owner(self, objects: int) -> Tensor:
        """All objects are of the one frame."""
        return torch.zeros(objects, dtype=torch.long, device=self.runtime.device)

    def _labels(self, logits: Tensor | None, size: tuple[int, int]) -> np.ndarray:
        """The winning id of every pixel, ``(H, W)`` uint8."""
        if logits is None:
            return np.zeros(size, np.uint8)
        fine = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        # Soft aggregation keeps the order of the objects, and an object wins over the background only if its
        # odds do; with one object that is a logit above zero.
        best, winner = fine[:, 0].max(dim=0)
        ids = torch.tensor(self.object_ids, dtype=torch.uint8, device=fine.device)
        log_background = -F.softplus(fine[:, 0]).sum(dim=0)
        background = log_background - torch.log(-torch.expm1(log_background.clamp(-60.0, -1e-6)))
        return torch.where(best > background, ids[winner], 0).to(torch.uint8).cpu().numpy()

    def _with_given(
        self, probabilities: Tensor | None, given: dict[int, np.ndarray], size: tuple[int, ...]
    ) -> Tensor:
        """Append the given masks ``(O', 1, h/4, w/4)``; what they cover is taken from the other objects."""
        masks = torch.from_numpy(np.stack(list(given.values()))).unsqueeze(1)
        new = F.adaptive_avg_pool2d(masks.to(self.runtime.device).float(), (size[0], size[1]))
        if probabilities is None:
            return new
        return torch.cat([probabilities * (1 - new.sum(dim=0, keepdim=True).clamp(0, 1)), new])

    def _remember(self, template: Template, new_ids: list[int]) -> None:
        known = len(self.object_ids)
        if self.memory is not None:
            old = Template(*(t[:known] for t in template))
            contender = self.frame_index - 1
            self.memory = self.memory.update(
                old,
                self.frame_index,
                self.policy,
                candidate=contender % self.candidate_every == 0,
                noise=self.sample,
                generator=self.generator,
            )
        if new_ids:
            new = Template(*(t[known:] for t in template))
            memory = SlotMemory.of_first_frame(new, self.frame_index, self.layout)
            self.memory = memory if self.memory is None else self.memory.append_objects(memory)
            self.object_ids = (*self.object_ids, *new_ids)
