"""What every segmentation model can do. Sessions and training use these verbs and nothing else."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import SlotMemory, Template
from stremn.models.config import SegmenterConfig
from stremn.ops import balanced_weights, soft_aggregation, target_moments

__all__ = ["ImageFeatures", "Segmenter", "of_objects", "others_of", "to_map"]


@dataclass(frozen=True)
class ImageFeatures:
    """What is computed once per frame, for all objects.

    Attributes:
        image: the normalised frame ``(B, 3, h, w)``.
        key: query key ``(B, N, Ck)`` with ``N = H·W``.
        maps: feature maps from fine to coarse, the last at the memory's stride ``(B, C, H, W)``.
    """

    image: Tensor
    key: Tensor
    maps: tuple[Tensor, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) at the memory's stride."""
        height, width = self.maps[-1].shape[-2:]
        return height, width


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions ``(O, N, C)`` back to a feature map ``(O, C, H, W)``."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def of_objects(features: Tensor, owner: Tensor) -> Tensor:
    """What each object has from its frame: ``(B, ...)`` to ``(O, ...)``, a view where there is one frame.

    Args:
        features: of the frames ``(B, ...)``.
        owner: which of the frames each object belongs to ``(O,)``.
    """
    if features.shape[0] == 1:
        return features.expand(owner.shape[0], *features.shape[1:])
    return features[owner]


def others_of(masks: Tensor, owner: Tensor, frames: int) -> Tensor:
    """For each object the sum of the masks of the other objects of its frame, clamped to 1.

    Args:
        masks: ``(O, 1, h, w)``.
        owner: which of the ``B`` frames each object belongs to ``(O,)``.
        frames: B.
    """
    total = masks.new_zeros((frames, *masks.shape[1:])).index_add(0, owner, masks)
    return (total[owner] - masks).clamp(0, 1)


class Segmenter(nn.Module, ABC):
    """Base of the segmentation models; holds weights and no state.

    ``O`` objects of ``B`` frames go through as one batch; ``owner`` ``(O,)`` says which frame each is of.
    Frames are RGB in [0, 1] with sides divisible by :attr:`stride`.
    """

    stride = 16
    mean: Tensor
    std: Tensor

    def __init__(self, config: SegmenterConfig) -> None:
        """Keep the config; the architectures build the rest."""
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    @abstractmethod
    def encode_image(self, frames: Tensor) -> ImageFeatures:
        """Frames ``(B, 3, h, w)`` in [0, 1] to what all objects share."""

    @abstractmethod
    def encode_template(self, features: ImageFeatures, masks: Tensor, owner: Tensor) -> Template:
        """Frame and masks ``(O, 1, h', w')`` in [0, 1], at any resolution, to what the memory keeps."""

    @abstractmethod
    def decode(
        self, features: ImageFeatures, readout: Tensor, owner: Tensor, previous: Tensor | None = None
    ) -> Tensor:
        """Readout ``(O, N, Cr)`` to logits ``(O, 1, h/4, w/4)``.

        ``previous`` are the probabilities of the frame before ``(O, 1, h/4, w/4)``, used where
        ``config.guidance`` says so; ``None`` where there are none.
        """

    def read(self, features: ImageFeatures, memory: SlotMemory, owner: Tensor) -> Tensor:
        """What the memory knows of each position: ``(O, N, Cr)``, Eq. (5); Cr is ``config.readout_dim``."""
        read = memory.read_parts if self.config.parted else memory.read
        readout = read(
            of_objects(features.key, owner), similarity=self.config.similarity, scale=self.config.scale
        )
        if not self.config.target_model:
            return readout
        target = memory.read_target(of_objects(self.target_features(features), owner))
        return torch.cat([readout, target.to(readout.dtype)], dim=-1)

    @staticmethod
    def target_features(features: ImageFeatures) -> Tensor:
        """What a target model is linear in ``(B, N, Ck + C + 1)``: query key, coarsest map and a constant."""
        coarse = features.maps[-1].flatten(2).transpose(1, 2).float()
        return torch.cat([features.key.float(), coarse, torch.ones_like(coarse[..., :1])], dim=-1)

    def moments_of(self, features: ImageFeatures, masks: Tensor, value: Tensor, owner: Tensor) -> Tensor:
        """What the target model learns from a frame: to predict value, mask and masks of the others.

        Args:
            features: of the frame.
            masks: of the objects ``(O, 1, h', w')`` in [0, 1].
            value: ``(O, N, Cv)``.
            owner: which frame each object is of ``(O,)``.

        Returns:
            ``(O, C, C + Cv + 2)``, see :func:`stremn.ops.target_moments`.
        """
        masks = self.resize(masks, features.grid)
        mask, others = (m.flatten(1) for m in (masks, others_of(masks, owner, features.key.shape[0])))
        targets = torch.cat([value.float(), torch.stack([mask, others], dim=-1)], dim=-1)
        return target_moments(
            of_objects(self.target_features(features), owner), targets, balanced_weights(mask)
        )

    def segment(
        self, features: ImageFeatures, memory: SlotMemory, owner: Tensor, previous: Tensor | None = None
    ) -> Tensor:
        """Logits ``(O, 1, h/4, w/4)`` of one frame: read, then decode."""
        return self.decode(features, self.read(features, memory, owner), owner, previous)

    @staticmethod
    def aggregate(logits: Tensor, owner: Tensor, frames: int) -> Tensor:
        """Probabilities of objects that compete ``(O, 1, h, w)``, float32, for logits ``(O, 1, h, w)``.

        Soft aggregation among the objects of each frame. With one frame this is
        :func:`stremn.ops.soft_aggregation` and a softmax.
        """
        if frames == 1:
            return soft_aggregation(logits[:, 0], dim=0).softmax(dim=0)[1:].unsqueeze(1)
        per_frame = logits.unflatten(0, (frames, -1))
        return soft_aggregation(per_frame, dim=1).softmax(dim=1)[:, 1:].flatten(0, 1)

    def normalize(self, frames: Tensor) -> Tensor:
        """RGB in [0, 1] to the backbone's range."""
        # In one pass over the frame.
        return torch.addcmul(-self.mean / self.std, frames, 1 / self.std)

    def project_key(self, coarse: Tensor, projection: nn.Module) -> Tensor:
        """A projected feature map ``(B, C, H, W)`` as positions ``(B, N, C')``."""
        return projection(coarse).flatten(2).transpose(1, 2)

    @staticmethod
    def resize(masks: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
        """Masks at another resolution: by area when smaller, bilinear when larger."""
        height, width = size[-2:]
        if masks.shape[-2:] == (height, width):
            return masks
        if masks.shape[-2] > height:
            return F.adaptive_avg_pool2d(masks, (height, width))
        return F.interpolate(masks, size=(height, width), mode="bilinear", align_corners=False)
