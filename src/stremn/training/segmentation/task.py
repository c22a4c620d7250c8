"""Training of segmentation: its recipe, its data, its loss and its validation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from stremn.data import (
    Clip,
    ClipMixture,
    StillLayout,
    StillSet,
    SyntheticClips,
    Video,
    VideoClips,
    collate,
    open_stills,
    open_videos,
)
from stremn.errors import StremnError
from stremn.memory import MemoryLayout, Rules, get_policy
from stremn.models import Segmenter, create_model
from stremn.sessions import SegmentationSession
from stremn.training.recipe import Recipe, expand
from stremn.training.segmentation.backbone import depthwise_in_float32, load_imagenet
from stremn.training.segmentation.losses import segmentation_loss
from stremn.training.segmentation.segment_clip import segment_clip
from stremn.training.segmentation.validation import segment_held_out
from stremn.training.task import StepDraw, Task, check_held_out

__all__ = ["SegmentationRecipe", "SegmentationTask"]


@dataclass(frozen=True)
class SegmentationRecipe(Recipe):
    """A training run of segmentation, which has the keys of :class:`stremn.training.Recipe` besides.

    Attributes:
        backbone_weights: file with ImageNet weights; empty for the default of the model. Without ``start``
            only.
        videos: DAVIS-layout folders, each ``root`` or ``root:split file``.
        stills: folders of stills with object masks, of any layout that ``stremn data check`` knows.
        held_out: names of sequences that are never trained on; validation runs on them.
        video_share: share of clips that come from videos, 0 to 1.
        objects: O, the most objects followed in a clip.
        max_gap: most frames from one frame of a video clip to the next.
        hidden_share: share of clips whose objects disappear for a few frames.
        look_alike_share: share of clips with a copy of an object that moves by itself.
        copy_paste_share: share of the clips from videos with an object of another video.
        region_share: share of the clips from stills in which random regions are followed.
        inverse_share: share of clips in which all but the object is followed.
        zoom_share: share of the clips from videos in which the camera zooms in on an object or out from it.
        damage_share: share of the objects of a frame whose mask is spoilt before it is written into the
            memory, see :func:`stremn.training.segmentation.damage.damaged`.
        chosen: chosen slots in training. The update keys are trained only where there is a choice: at least 2
            chosen slots, in clips of at least ``chosen + 4`` frames.
        backbone_rate: learning rate of the backbone; ``learning_rate`` is that of all else.
        frozen_blocks: how many of the backbone's first blocks keep their weights, the stem with them; 0
            trains all of it.
        dice_weight: weight of 1 - Dice beside the cross entropy; 0 leaves it out.
        hard_share: share of each frame's pixels, those of largest cross entropy, that count.
        guide_share: share of steps in which the decoder sees the previous probabilities.
        validate_size: shorter side in pixels at which held-out sequences are segmented; 0 for the model's.
    """

    backbone_weights: str = ""
    videos: tuple[str, ...] = ()
    stills: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    video_share: float = 0.5
    objects: int = 2
    max_gap: int = 8
    hidden_share: float = 0.1
    look_alike_share: float = 0.1
    copy_paste_share: float = 0.0
    region_share: float = 0.0
    inverse_share: float = 0.0
    zoom_share: float = 0.0
    damage_share: float = 0.0
    chosen: int = 1
    backbone_rate: float = 2e-5
    frozen_blocks: int = 3
    dice_weight: float = 1.0
    hard_share: float = 1.0
    guide_share: float = 0.7
    validate_size: int = 0

    least: ClassVar[Mapping[str, float]] = {
        **Recipe.least,
        "objects": 1,
        "max_gap": 1,
        "chosen": 0,
        "backbone_rate": 0,
        "frozen_blocks": 0,
        "dice_weight": 0,
        "validate_size": 0,
    }
    most: ClassVar[Mapping[str, float]] = {
        **Recipe.most,
        "objects": 200,
        "chosen": 10_000,
        "validate_size": 8192,
    }
    shares: ClassVar[tuple[str, ...]] = (
        *Recipe.shares,
        "video_share",
        "hidden_share",
        "look_alike_share",
        "copy_paste_share",
        "region_share",
        "inverse_share",
        "zoom_share",
        "damage_share",
        "hard_share",
        "guide_share",
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        if not self.videos and not self.stills:
            raise StremnError("recipe: neither 'videos' nor 'stills' names any data")
        super().__post_init__()
        if self.validate_every and not self.held_out:
            raise StremnError("recipe: 'validate_every' needs sequences in 'held_out' to validate on")


class SegmentationTask(Task):
    """Trains models that segment a video from the masks of its first frame.

    Args:
        recipe: what to do.
        device: where validation is to run.

    Raises:
        StremnError: if data is missing or nothing is left to train on.
    """

    recipe_class, model_class = SegmentationRecipe, Segmenter
    collate = staticmethod(collate)

    def __init__(self, recipe: SegmentationRecipe, device: torch.device) -> None:
        super().__init__(recipe, device)
        self.stills = [open_stills(expand(root)) for root in recipe.stills]
        self.videos = [open_videos(expand(entry)) for entry in recipe.videos]
        everything = [s for sequences in self.videos for s in sequences]
        held_out = {s.name: s for s in everything if s.name in recipe.held_out}
        if everything:
            check_held_out(recipe.held_out, held_out)
        self.held_out = [held_out[name] for name in sorted(held_out)]
        self.clips = self._mixture([s for s in everything if self._is_trained(s)])

    def _is_trained(self, sequence: Video) -> bool:
        return sequence.name not in self.recipe.held_out

    def _mixture(self, sequences: list[Video]) -> ClipMixture:
        recipe, stills = self.recipe, list[StillSet](self.stills)
        common = {
            "objects": recipe.objects,
            "seed": recipe.seed,
            "hidden_share": recipe.hidden_share,
            "look_alike_share": recipe.look_alike_share,
            "inverse_share": recipe.inverse_share,
        }
        parts: list[Dataset[Clip]] = []
        shares: list[float] = []
        if sequences and recipe.video_share > 0:
            parts.append(
                VideoClips(
                    sequences,
                    stills,
                    max_gap=recipe.max_gap,
                    copy_paste_share=recipe.copy_paste_share,
                    zoom_share=recipe.zoom_share,
                    **common,
                )
            )
            shares.append(recipe.video_share)
        if stills and recipe.video_share < 1:
            parts.append(SyntheticClips(stills, region_share=recipe.region_share, **common))
            shares.append(1 - recipe.video_share)
        if not parts:
            raise StremnError("recipe: nothing to train on; check 'videos', 'stills' and 'video_share'")
        return ClipMixture(parts, shares, recipe.seed)

    def untrained_model(self) -> Segmenter:
        """Make a new model of the recipe's ``model``, with ImageNet weights in its backbone."""
        model = create_model(self.recipe.model)
        load_imagenet(model, expand(self.recipe.backbone_weights) or None)
        return model

    def prepare(self, model: nn.Module) -> None:
        """Let depthwise convolutions that are trained on a CPU run in float32."""
        depthwise_in_float32(model)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Train the backbone, but for frozen blocks and batch norm, at a rate of its own."""
        norms = {
            id(p)
            for m in model.modules()
            if isinstance(m, nn.BatchNorm2d)
            for p in m.parameters(recurse=False)
        }
        backbone, rest = [], []
        for name, parameter in model.named_parameters():
            if not name.startswith(("backbone.", "query_encoder.", "memory_encoder.")):
                rest.append(parameter)
            elif id(parameter) in norms or _block(name) < self.recipe.frozen_blocks:
                parameter.requires_grad_(False)
            else:
                backbone.append(parameter)
        groups: list[dict[str, Any]] = [{"params": rest, "lr": self.recipe.learning_rate}]
        if backbone:
            groups.append({"params": backbone, "lr": self.recipe.backbone_rate})
        return groups

    def loss(self, model: nn.Module, batch: Clip, draw: StepDraw) -> Tensor:
        """Segment whole clips from the masks of their first frames, and compute the loss of the others."""
        recipe, network = self.recipe, cast(Segmenter, model)
        config = network.config
        rules = Rules(
            MemoryLayout(chosen=recipe.chosen),
            get_policy(config.policy),
            config.certainty,
            noise=True,
            generator=draw.own,
        )
        guide = bool(torch.rand((), generator=draw.shared) < recipe.guide_share)
        logits = segment_clip(network, batch, rules, guide=guide, damage=recipe.damage_share)
        weights = {"dice_weight": recipe.dice_weight, "hard_share": recipe.hard_share}
        return segmentation_loss(logits, batch.labels[:, 1:], batch.valid, **weights)

    def validate(self, model: nn.Module) -> tuple[dict[str, float], np.ndarray | None]:
        """Segment the held-out sequences: J&F, J and F, and a picture."""
        session = SegmentationSession(
            cast(Segmenter, model),
            size=self.recipe.validate_size or None,
            device=str(self.device),
            precision=self.recipe.session_precision,
        )
        return segment_held_out(session, self.held_out)

    def describe_data(self) -> dict[str, Any]:
        """List counts and names; a sequence that two entries share is listed under both."""
        videos = []
        for entry, sequences in zip(self.recipe.videos, self.videos, strict=True):
            trained = [s for s in sequences if self._is_trained(s)]
            masks = sum(len(s.masks) for s in trained)
            videos.append({"entry": entry, "masks": masks, "sequences": [s.name for s in trained]})
        return {
            "stills": [_described(*pair) for pair in zip(self.recipe.stills, self.stills, strict=True)],
            "videos": videos,
            "held_out": [s.name for s in self.held_out],
        }


def _described(entry: str, stills: StillLayout) -> dict[str, Any]:
    return {"entry": entry, "layout": stills.layout, "images": len(stills)}


def _block(name: str) -> int:
    """Find the block or layer of its encoder that a parameter belongs to; the stem is part of block 0."""
    part = name.removeprefix("backbone.").removeprefix("query_encoder.").removeprefix("memory_encoder.")
    number = re.match(r"(?:blocks\.|layer)(\d+)", part)
    return int(number[1]) if number else 0
