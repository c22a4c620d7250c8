"""What every segmentation model can do. Sessions and training use these verbs and nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import NO_FUSION, Fusion, Rules, SlotMemory, Template, surely_visible
from stremn.models.config import SegmenterConfig
from stremn.models.layers import TemplateFusion, to_map, to_tokens
from stremn.models.region import Region, Window, regions_of
from stremn.ops import soft_aggregation

__all__ = [
    "ABSENT_LOGIT",
    "ImageFeatures",
    "SegmentationState",
    "Segmenter",
    "Settle",
    "of_objects",
    "others_of",
    "with_given",
]

ABSENT_LOGIT = -20.0
"""Of an object where it cannot be."""


@dataclass(frozen=True)
class ImageFeatures:
    """What is computed once per frame, for all objects.

    Attributes:
        image: the normalised frame ``(B, 3, h, w)``.
        key: query key ``(B, N, Ck)`` with ``N = H·W``.
        maps: feature maps from fine to coarse, the last at the memory's stride ``(B, C, H, W)``.
        logit_stride: of the logits ``(O, 1, h', w')``; objects compete, and masks go on, at this resolution.
        window: the part of the frame that all of this is of; ``None`` is all of it.
    """

    image: Tensor
    key: Tensor
    maps: tuple[Tensor, ...]
    logit_stride: int = 4
    window: Window | None = None

    @property
    def logit_size(self) -> tuple[int, int]:
        """(h', w') of logits, and of the masks that go on."""
        height, width = self.image.shape[-2:]
        return height // self.logit_stride, width // self.logit_stride

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) at the memory's stride."""
        height, width = self.maps[-1].shape[-2:]
        return height, width

    @property
    def frames(self) -> int:
        """B."""
        return self.key.shape[0]

    def cut(self, region: Region) -> "ImageFeatures":
        """What there is of a part of the frame."""
        key = to_tokens(region.cut(to_map(self.key, self.grid), self.grid))
        image, *maps = (region.cut(m, self.grid) for m in (self.image, *self.maps))
        return replace(self, image=image, key=key, maps=tuple(maps))


def _on_positions(window: Window, frame: Tensor, part: Tensor) -> Tensor:
    """Positions ``(O, N, C)`` of a frame with those of a window ``(O, n, C)`` in their place."""
    rows, columns = (last - first for first, last in (window.rows, window.columns))
    return to_tokens(window.on(to_map(frame, window.grid), to_map(part, (rows, columns))))


def of_objects(features: Tensor, objects: int) -> Tensor:
    """Give each of ``O`` objects what its frame has: ``(B, …)`` to ``(O, …)``, a view where B is 1.

    Args:
        features: of the frames ``(B, …)``.
        objects: O, a multiple of B; the objects of a frame follow one another.
    """
    if features.shape[0] == 1:
        return features.expand(objects, *features.shape[1:])
    return features.repeat_interleave(objects // features.shape[0], dim=0)


def others_of(masks: Tensor, frames: int) -> Tensor:
    """For each object the sum of the masks of the other objects of its frame, clamped to 1.

    Args:
        masks: ``(O, 1, h, w)``, those of a frame one after the other.
        frames: B, of which O is a multiple.
    """
    each = masks.unflatten(0, (frames, -1))
    return (each.sum(dim=1, keepdim=True) - each).clamp(0, 1).flatten(0, 1)


@dataclass(frozen=True)
class SegmentationState:
    """What one frame of ``B`` videos leaves to the next.

    Attributes:
        memory: of ``O`` objects.
        previous: their probabilities ``(O, 1, h', w')`` float32.
    """

    memory: SlotMemory
    previous: Tensor

    def select_objects(self, index: Tensor) -> "SegmentationState":
        """Only the objects at these positions ``(O',)``, in this order."""
        return SegmentationState(self.memory.select_objects(index), self.previous[index])

    def within(self, window: Window | None) -> "SegmentationState":
        """With the probabilities in a window, ``None`` all of them, a view; of the same memory."""
        return self if window is None else SegmentationState(self.memory, window.of(self.previous))

    def given_alone(self) -> "SegmentationState":
        """With the given slots of the memory only, which are shared."""
        return SegmentationState(self.memory.given_alone(), self.previous)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.memory.nbytes + self.previous.numel() * self.previous.element_size()


Settle = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""From each view's logits of the objects known before to the probabilities of all objects that each view goes
on with; see :meth:`Segmenter.observe`."""


class Segmenter(nn.Module, ABC):
    """Base of the segmentation models; holds weights and no state.

    ``O`` objects of ``B`` frames go through as one batch, as many of each frame, those of a frame one after
    the other. Frames are RGB in [0, 1] with sides divisible by :attr:`stride`.
    """

    stride = 16
    mean: Tensor
    std: Tensor

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        update_keys = 1 if config.shared_update_key else 2
        kept = config.key_dim + config.value_dim + update_keys * config.update_dim
        self.fusion = None if config.fusion == NO_FUSION else TemplateFusion(kept)

    @abstractmethod
    def encode_image(self, frames: Tensor) -> ImageFeatures:
        """Frames ``(B, 3, h, w)`` in [0, 1] to what all objects share."""

    @abstractmethod
    def encode_template(
        self, features: ImageFeatures, masks: Tensor, given: Tensor | None = None
    ) -> Template:
        """Frame and masks to what the memory keeps.

        Args:
            features: of the frames.
            masks: of the objects ``(O, 1, h', w')`` in [0, 1], at any resolution.
            given: masks of the last ``O'`` of them as they were given ``(O', 1, H, W)``, at any resolution;
                ``None`` if none is new.
        """

    def encode_around(self, features: ImageFeatures, masks: Tensor, regions: Sequence[Region]) -> Template:
        """The same within regions, in a model whose config says that it searches them.

        Args:
            features: of the frame.
            masks: of the objects ``(O, 1, h', w')`` in [0, 1], zero outside of the regions.
            regions: of the objects.
        """
        raise NotImplementedError

    @abstractmethod
    def decode(self, features: ImageFeatures, readout: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Readout ``(O, N, Cr)`` to logits ``(O, 1, h', w')``, of the size that the features say.

        ``guidance`` is of :meth:`guidance`, which a model may pass over; ``None`` where there is none.
        """

    def observe(
        self,
        features: Sequence[ImageFeatures],
        states: Sequence[SegmentationState],
        rules: Rules,
        frame_index: int | Tensor,
        *,
        given: Sequence[Tensor] = (),
        candidate: bool = True,
        guide: bool = True,
        near: Sequence[bool] = (),
        settle: Settle | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[SegmentationState, ...]]:
        """Take the next frame: read, decode, encode the template, write; the one way in the package.

        Every argument that is a sequence has an entry for each view of the frame (V7); usually that is one.

        Args:
            features: of the frame, by :meth:`encode_image`.
            states: of the frame before; without gradients their memories are written in place. Empty before
                any object was given.
            rules: of the memory.
            frame_index: position in the video, a tensor ``()`` int64 where the step is to be compiled.
            given: masks of new objects ``(O', 1, H, W)`` in [0, 1], at any resolution; what they cover is
                taken from the other objects. Empty if there are none.
            candidate: whether the template of the frame before competes for a chosen slot.
            guide: False withholds the previous probabilities from the decoder.
            near: of each known object whether it is looked for only around where it was, see
                :func:`stremn.models.region.regions_of`; empty looks for all of them in all of the frame.
            settle: what becomes of the logits before they are remembered; ``None`` is :meth:`settled`.

        Returns:
            Logits of the objects known before ``(O, 1, h', w')`` float32, none without states; and the
            states for the next frame, new objects after those known before.

        Raises:
            ValueError: if there are neither known nor new objects.
        """
        if not states and not given:
            raise ValueError("a frame needs an object, known or given")
        regions = [
            regions_of(state.within(seen.window).previous, seen.grid, near, frame_index)
            for seen, state in zip(features, states, strict=False)
        ]
        logits = tuple(
            self.segment(features[view], state, guide=guide, regions=regions[view])
            for view, state in enumerate(states)
        )
        settled = self.settled(logits, given, features) if settle is None else settle(logits)
        after = tuple(
            self._remember(
                seen,
                settled[view],
                states[view] if states else None,
                given[view] if given else None,
                rules,
                frame_index,
                candidate,
                regions[view] if states else [],
            )
            for view, seen in enumerate(features)
        )
        return logits, after

    def correct(
        self,
        features: Sequence[ImageFeatures],
        states: Sequence[SegmentationState],
        rules: Rules,
        frame_index: int | Tensor,
        given: Sequence[Tensor],
        corrected: Sequence[int],
    ) -> tuple[SegmentationState, ...]:
        """Take other masks for a frame that was observed, an addition to the paper.

        Args:
            features: of the frame, by view.
            states: after the frame, by view; empty before any object was given.
            rules: of the memory.
            frame_index: position in the video.
            given: by view, masks ``(O', 1, H, W)`` in [0, 1] of corrected objects, in the order of
                ``corrected``, followed by those of new objects; an empty one says that a corrected object is
                not to be seen. What they cover is taken from the other objects.
            corrected: positions of the corrected objects.

        Returns:
            The states for the next frame, new objects after those known before.
        """
        after = []
        for view, (seen, masks) in enumerate(zip(features, given, strict=True)):
            state = states[view] if states else None
            known = 0 if state is None else len(state.previous)
            others = [p for p in range(known) if p not in corrected]
            order = [*others, *corrected, *range(known, len(others) + len(masks))]
            back = sorted(range(len(order)), key=order.__getitem__)
            found = with_given(state.previous[others] if state and others else None, masks, seen.logit_size)
            template = self.encode_template(seen, found, masks).of_objects(back)
            found, memory = found[back], None
            if state is not None:
                given_now = torch.zeros(known, dtype=torch.bool, device=found.device)
                given_now[list(corrected)] = True
                present = surely_visible(found[:known], rules.certainty) | (rules.certainty == 0)
                present[list(corrected)] = masks[: len(corrected)].flatten(1).any(dim=1)
                memory = state.memory.correct(
                    template.of_objects(slice(known)), frame_index, given_now, present
                )
            if len(order) > known:
                layout = rules.layout if memory is None else memory.layout
                fresh = SlotMemory.of_first_frame(
                    template.of_objects(slice(known, None)), frame_index, layout
                )
                memory = fresh if memory is None else memory.append_objects(fresh)
            assert memory is not None
            after.append(SegmentationState(memory, found))
        return tuple(after)

    def segment(
        self,
        features: ImageFeatures,
        state: SegmentationState,
        *,
        guide: bool = True,
        regions: Sequence[Region] = (),
    ) -> Tensor:
        """Logits of the known objects ``(O, 1, h', w')`` float32: read, then decode.

        Args:
            features: of the frame.
            state: of the frame before.
            guide: False withholds the previous probabilities from the decoder.
            regions: where each object is looked for, of what the features are of; empty is all of it.
        """
        window = features.window
        if window is not None:
            part = replace(features, window=None), state.within(window)
            logits = self.segment(*part, guide=guide, regions=regions)
            return window.on(torch.full_like(state.previous, ABSENT_LOGIT), logits)
        guidance = self.guidance(state.previous, features) if guide else None
        if not regions:
            return self.decode(features, self.read(features, state.memory), guidance).float()
        logits = torch.full_like(state.previous, ABSENT_LOGIT)
        for position, region in enumerate(regions):
            own, seen = slice(position, position + 1), features.cut(region)
            readout = self.read(seen, state.memory.select_objects(own))
            before = None if guidance is None else region.cut(guidance[own], features.grid)
            region.paste(logits[own], self.decode(seen, readout, before), features.grid)
        return logits

    def find_again(self, features: ImageFeatures, state: SegmentationState) -> Tensor:
        """Where each object is by its given masks alone ``(O, 1, ., .)`` in [0, 1], at any resolution.

        Without templates of later frames, and without where the object was before.

        Args:
            features: of the frame.
            state: of the objects.
        """
        return self.aggregate(self.segment(features, state.given_alone(), guide=False), features.frames)

    def guidance(self, previous: Tensor, features: ImageFeatures) -> Tensor:
        """What the decoder is told of the frame before: each object and the others ``(O, 2, H, W)``."""
        coarse = self.resize(previous, features.grid)
        return torch.cat([coarse, others_of(coarse, features.frames)], dim=1)

    def settled(
        self, logits: Sequence[Tensor], given: Sequence[Tensor], features: Sequence[ImageFeatures]
    ) -> list[Tensor]:
        """Probabilities that each view goes on with, ``(O, 1, h', w')``: its own, by soft aggregation."""
        found = [self.aggregate(seen, features[0].frames) for seen in logits]
        if not given:
            return found
        return [
            with_given(found[view] if found else None, new, features[view].logit_size)
            for view, new in enumerate(given)
        ]

    def _remember(
        self,
        features: ImageFeatures,
        probabilities: Tensor,
        state: SegmentationState | None,
        given: Tensor | None,
        rules: Rules,
        frame_index: int | Tensor,
        candidate: bool,
        regions: Sequence[Region],
    ) -> SegmentationState:
        """Encode the template of a frame and write it: known objects' slots, a memory for each new object."""
        window = features.window
        seen = probabilities if window is None else window.of(probabilities)
        if state is not None and regions and given is None:
            template = self.encode_around(features, seen, regions)
        else:
            template = self.encode_template(features, seen, given)
        if window is not None:
            assert state is not None
            template = state.memory.completed(template, partial(_on_positions, window))
        known = 0 if state is None else state.previous.shape[0]
        memory = None
        if state is not None:
            present = surely_visible(probabilities[:known], rules.certainty) if rules.certainty else None
            fusion = None
            if rules.fusion != NO_FUSION and self.fusion is not None:
                fusion = Fusion(rules.fusion, partial(self.fusion, grid=features.grid))
            memory = state.memory.update(
                template.of_objects(slice(known)),
                frame_index,
                rules.policy,
                candidate=candidate,
                present=present,
                noise=rules.noise,
                tau=rules.tau,
                generator=rules.generator,
                fusion=fusion,
            )
        if given is not None:
            fresh = SlotMemory.of_first_frame(
                template.of_objects(slice(known, None)), frame_index, rules.layout
            )
            memory = fresh if memory is None else memory.append_objects(fresh)
        assert memory is not None
        return SegmentationState(memory, probabilities)

    def read(self, features: ImageFeatures, memory: SlotMemory) -> Tensor:
        """What the memory knows of each position ``(O, N, Cr)``, Eq. (5); Cr is Cv, or more."""
        query = of_objects(features.key, memory.objects)
        return memory.read(query, similarity=self.config.similarity, scale=self.config.scale)

    @staticmethod
    def aggregate(logits: Tensor, frames: int = 1) -> Tensor:
        """Probabilities of objects that compete ``(O, 1, h, w)`` float32, for logits ``(O, 1, h, w)``.

        Soft aggregation among the objects of each of ``frames`` frames, see
        :func:`stremn.ops.soft_aggregation`.
        """
        per_frame = logits.squeeze(1).unflatten(0, (frames, -1))
        found = soft_aggregation(per_frame, dim=1).softmax(dim=1)[:, 1:]
        return found.flatten(0, 1).unsqueeze(1)

    def normalize(self, frames: Tensor) -> Tensor:
        """RGB in [0, 1] to the backbone's range."""
        # In one pass over the frame.
        return torch.addcmul(-self.mean / self.std, frames, 1 / self.std)

    @staticmethod
    def resize(masks: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Masks at another resolution: by area when smaller, bilinear when larger."""
        height, width = size[-2:]
        if masks.shape[-2:] == (height, width):
            return masks
        if masks.shape[-2] > height:
            return F.adaptive_avg_pool2d(masks, (height, width))
        return F.interpolate(masks, size=(height, width), mode="bilinear", align_corners=False)

    @classmethod
    def mask_input(cls, masks: Tensor, given: Tensor | None, size: torch.Size | tuple[int, int]) -> Tensor:
        """Masks of all objects at the size at which a memory encoder takes them ``(O, 1, h, w)``.

        Those that were given come from the masks as they were given (V4), not from what is left of them at
        the logits' stride; see :meth:`encode_template`.
        """
        if given is None:
            return cls.resize(masks, size)
        new = cls.resize(given, size).to(masks)
        known = masks[: len(masks) - len(given)]
        return torch.cat([cls.resize(known, size), new]) if len(known) else new


def with_given(probabilities: Tensor | None, given: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities of known objects and, after them, the given masks, both ``(O, 1, h, w)`` at ``size``."""
    new = F.adaptive_avg_pool2d(given, size)
    if probabilities is None:
        return new
    return torch.cat([probabilities * (1 - new.sum(dim=0, keepdim=True).clamp(0, 1)), new])
