"""Training of segmentation: its recipe, its data, its loss and its validation."""

import re
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from stremn.data import (
    Clip,
    ClipMixture,
    CrossingClips,
    StillSet,
    SyntheticClips,
    Video,
    VideoClips,
    check_scorable,
    collate,
    new_objects,
    open_stills,
    open_videos,
    play,
)
from stremn.errors import StremnError
from stremn.files.drawing import overlay
from stremn.memory import MemoryLayout, Rules, get_policy
from stremn.metrics import SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import SegmentationSession
from stremn.training.recipe import Recipe, bounded, expand
from stremn.training.segmentation.backbone import depthwise_in_float32, load_imagenet
from stremn.training.segmentation.losses import segmentation_loss
from stremn.training.segmentation.segment_clip import forget_activations, segment_clip
from stremn.training.task import SCORE, StepDraw, Task, hold_out

__all__ = ["SegmentationRecipe", "SegmentationTask"]

ENCODERS = ("backbone.", "query_encoder.", "memory_encoder.")
"""Parts of a model that start from ImageNet weights."""

COLUMNS, HEIGHT = 4, 180
"""Frames of a sequence that validation shows, and their height in pixels."""


@dataclass(frozen=True)
class SegmentationRecipe(Recipe):
    """A training run of segmentation, which has the keys of :class:`stremn.training.Recipe` besides."""

    backbone_weights: str = ""
    """File with ImageNet weights for the encoders. Empty for the default of the model, or with ``start`` to
    keep those of the checkpoint."""
    videos: tuple[str, ...] = ()
    """DAVIS-layout folders, each ``root`` or ``root:split file``."""
    stills: tuple[str, ...] = ()
    """Folders of stills with object masks, of any layout that ``stremn data check`` knows."""
    held_out: tuple[str, ...] = ()
    """Names of sequences that are never trained on; validation runs on them."""
    video_share: float = bounded(0.5, 0, 1)
    """Share of clips that come from videos."""
    objects: int = bounded(2, 1, 200)
    """O, the most objects followed in a clip."""
    max_gap: int = bounded(8, 1)
    """Most frames from one frame of a video clip to the next."""
    hidden_share: float = bounded(0.1, 0, 1)
    """Share of clips whose objects disappear for a few frames."""
    look_alike_share: float = bounded(0.1, 0, 1)
    """Share of clips with a copy of an object that moves by itself."""
    copy_paste_share: float = bounded(0.0, 0, 1)
    """Share of the clips from videos with an object of another video."""
    region_share: float = bounded(0.0, 0, 1)
    """Share of the clips from stills in which random regions are followed."""
    crossing_share: float = bounded(0.0, 0, 1)
    """Share of the clips from stills in which look-alikes meet, see :class:`stremn.data.CrossingClips`. The
    choosing set has those of seed 20."""
    inverse_share: float = bounded(0.0, 0, 1)
    """Share of clips in which all but the object is followed."""
    zoom_share: float = bounded(0.0, 0, 1)
    """Share of the clips from videos in which the camera zooms in on an object or out from it."""
    damage_share: float = bounded(0.0, 0, 1)
    """Share of the objects of a frame whose mask is spoilt before it is written into the memory, see
    :func:`stremn.training.segmentation.segment_clip.damaged`."""
    chosen: int = bounded(0, 0, 10_000)
    """Chosen slots in training, where they are to be fewer than the model's; 0 for all of them. The update
    keys are trained only where there is a choice: at least 2 chosen slots, and more frames that compete."""
    candidate_every: int = bounded(0, 0, 10_000)
    """Every how many frames of a clip a template competes; 0 for the model's own. Frames of a clip are up to
    ``max_gap`` apart, so that it may be fewer than in a whole video."""
    activation_checkpointing: bool = False
    """Compute encoders, read and decoder again in the backward pass: a step takes longer, and far less
    memory."""
    backbone_rate: float = bounded(2e-5, 0)
    """Learning rate of the backbone; ``learning_rate`` is that of all else."""
    frozen_blocks: int = bounded(3, 0)
    """How many of the backbone's first blocks keep their weights, the stem with them; 0 trains all of it."""
    dice_weight: float = bounded(1.0, 0)
    """Weight of 1 - Dice beside the cross entropy; 0 leaves it out."""
    hard_share: float = bounded(1.0, 0, 1)
    """Share of each frame's pixels, those of largest cross entropy, that count."""
    guide_share: float = bounded(0.7, 0, 1)
    """Share of steps in which the decoder sees the previous probabilities."""
    validate_size: int = bounded(0, 0, 8192)
    """Shorter side in pixels at which held-out sequences are segmented; 0 for the model's."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        if not self.videos and not self.stills:
            raise StremnError("recipe: neither 'videos' nor 'stills' names any data")
        super().__post_init__()
        if self.validate_every and not self.held_out:
            raise StremnError("recipe: 'validate_every' needs sequences in 'held_out' to validate on")


class SegmentationTask(Task):
    """Trains models that segment a video from the masks of its first frame.

    Raises:
        StremnError: if data is missing or nothing is left to train on.
    """

    recipe_class, model_class = SegmentationRecipe, Segmenter
    collate = staticmethod(collate)

    def __init__(self, recipe: SegmentationRecipe, device: torch.device) -> None:
        super().__init__(recipe, device)
        self.stills = [open_stills(expand(root)) for root in recipe.stills]
        self.videos = [open_videos(expand(entry)) for entry in recipe.videos]
        everything = [sequence for sequences in self.videos for sequence in sequences]
        # A recipe of stills alone may name what is held out of the next stage's videos.
        named = recipe.held_out if everything or recipe.validate_every else ()
        trained, held_out = hold_out(everything, named)
        # Two entries may share a sequence.
        self.held_out = sorted({s.name: s for s in held_out}.values(), key=lambda sequence: sequence.name)
        for sequence in self.held_out if recipe.validate_every else ():
            check_scorable(sequence)
        self.clips = self._mixture(trained)

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
            more = {"copy_paste_share": recipe.copy_paste_share, "zoom_share": recipe.zoom_share}
            parts.append(VideoClips(sequences, stills, max_gap=recipe.max_gap, **more, **common))
            shares.append(recipe.video_share)
        if stills and recipe.video_share < 1:
            parts.append(SyntheticClips(stills, region_share=recipe.region_share, **common))
            shares.append((1 - recipe.video_share) * (1 - recipe.crossing_share))
        if stills and recipe.video_share < 1 and recipe.crossing_share > 0:
            parts.append(CrossingClips(stills, objects=recipe.objects, seed=recipe.seed))
            shares.append((1 - recipe.video_share) * recipe.crossing_share)
        if not parts:
            raise StremnError("recipe: nothing to train on; check 'videos', 'stills' and 'video_share'")
        return ClipMixture(parts, shares, recipe.seed)

    def new_model(self) -> Segmenter:
        """Make the model that training begins with; encoders of a new one have ImageNet weights."""
        model: Segmenter = super().new_model()
        path = expand(self.recipe.backbone_weights)
        if path or not self.recipe.start:
            load_imagenet(model, path or None)
        if self.recipe.chosen > model.config.layout.chosen:
            raise StremnError(
                f"recipe: 'chosen' must be at most {model.config.layout.chosen}, the chosen slots of the "
                f"model, not {self.recipe.chosen}; set more 'slots' in 'config'"
            )
        return model

    def prepare(self, model: nn.Module) -> None:
        """Let depthwise convolutions that are trained on a CPU run in float32; forget activations."""
        depthwise_in_float32(model)
        if self.recipe.activation_checkpointing:
            forget_activations(cast(Segmenter, model))

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Train the backbone, but for frozen blocks and batch norm, at a rate of its own."""
        norms = {p for m in model.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
        backbone, rest = [], []
        for name, parameter in model.named_parameters():
            if not name.startswith(ENCODERS):
                rest.append(parameter)
            elif parameter in norms or _block(name) < self.recipe.frozen_blocks:
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
            MemoryLayout(chosen=recipe.chosen or config.layout.chosen),
            get_policy(config.policy),
            config.certainty,
            noise=True,
            generator=draw.own,
            tau=config.tau,
            fusion=config.fusion,
            candidate_every=recipe.candidate_every or config.candidate_every,
        )
        guide = bool(torch.rand((), generator=draw.shared) < recipe.guide_share)
        logits = segment_clip(network, batch, rules, guide=guide, damage=recipe.damage_share)
        weights = {"dice_weight": recipe.dice_weight, "hard_share": recipe.hard_share}
        return segmentation_loss(logits, batch.labels[:, 1:], batch.valid, **weights)

    def validate(self, model: nn.Module) -> tuple[dict[str, float], np.ndarray | None]:
        """Segment the held-out sequences from their first masks, as users do.

        Returns:
            Mean J&F (the score), J and F over the objects of all sequences, 0 to 100; and later frames of
            each sequence, one row a sequence, if there are any.
        """
        session = SegmentationSession(
            cast(Segmenter, model),
            size=self.recipe.validate_size or None,
            device=str(self.device),
            precision=self.recipe.session_precision,
        )
        scores, rows = [], []
        for sequence in self.held_out:
            session.reset()
            scorer, row = SequenceScorer(sequence.name, from_given=bool(sequence.joins)), []
            shown = np.linspace(0, len(sequence.frames) - 1, COLUMNS + 1).round()[1:]
            for index, played in enumerate(play(sequence)):
                labels = session.step(played.image, new_objects(played.truth, session.object_ids)).labels
                if played.truth is not None:
                    scorer.update(labels, played.truth)
                if index in shown:
                    row.append(_small(overlay(played.image, labels)))
            scores += scorer.result()
            rows.append(np.concatenate(row, axis=1))
        j, f = (100 * float(np.mean([getattr(s, name) for s in scores])) for name in ("j_mean", "f_mean"))
        width = max((row.shape[1] for row in rows), default=0)
        rows = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0))) for row in rows]
        return {SCORE: (j + f) / 2, "J": j, "F": f}, np.concatenate(rows) if rows else None

    def describe_data(self) -> dict[str, Any]:
        """List counts and names; a sequence that two entries share is listed under both."""
        stills = [
            {"entry": entry, "layout": layout.layout, "images": len(layout)}
            for entry, layout in zip(self.recipe.stills, self.stills, strict=True)
        ]
        videos = []
        for entry, sequences in zip(self.recipe.videos, self.videos, strict=True):
            trained = [s for s in sequences if s.name not in self.recipe.held_out]
            masks = sum(len(s.masks) for s in trained)
            videos.append({"entry": entry, "masks": masks, "sequences": [s.name for s in trained]})
        return {"stills": stills, "videos": videos, "held_out": [s.name for s in self.held_out]}


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _block(name: str) -> int:
    """Find the block or layer of its encoder that a parameter belongs to; the stem is part of block 0."""
    number = re.match(r"\w+\.(?:blocks\.|layer)(\d+)", name)
    return int(number[1]) if number else 0
