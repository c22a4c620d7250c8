"""``stremn-lite``: the slot memory in a small assembly made for speed.

An EfficientNet-Lite0 runs once per frame for all objects and gives the keys, as in STCN
(https://arxiv.org/abs/2106.05210); per object there is only a light value encoder, the read and the decoder.
"""

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.memory import NO_FUSION, SlotMemory, Template, read_given_target, read_separately, read_target
from stremn.models.config import SegmenterConfig
from stremn.models.layers import ResidualBlock, concatenate, feature_channels, to_map, to_tokens
from stremn.models.region import WORTH, Region, share_of
from stremn.models.segmenter import ImageFeatures, SegmentationState, Segmenter, of_objects, others_of
from stremn.ops import balanced_weights, target_moments

__all__ = ["LiteSegmenter"]

WIDTH = 128
"""Channels at stride 16."""


class ValueEncoder(nn.Module):
    """Masks at stride 4 and the shared image features to a map at stride 16, per object."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        quarter, eighth = channels
        self.from_quarter = nn.Conv2d(quarter + 2, 64, 3, stride=2, padding=1)
        self.from_eighth = nn.Conv2d(eighth, 64, 1)
        self.refine_eighth = ResidualBlock(64)
        self.down = nn.Conv2d(64, WIDTH, 3, stride=2, padding=1)
        self.fuse = nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1)
        self.refine = nn.Sequential(ResidualBlock(WIDTH), ResidualBlock(WIDTH))

    def forward(self, maps: tuple[Tensor, ...], masks: Tensor, others: Tensor) -> Tensor:
        """``(O, 128, H, W)`` for masks and masks of the other objects ``(O, 1, h/4, w/4)``."""
        quarter, eighth, coarse = maps
        objects = len(masks)
        masked = [of_objects(quarter, objects), masks.to(quarter), others.to(quarter)]
        x = self.from_quarter(concatenate(masked))
        x = self.refine_eighth(x + of_objects(self.from_eighth(eighth), objects))
        x = self.fuse(concatenate([self.down(x.relu()), of_objects(coarse, objects)]))
        return self.refine(x)


class Decoder(nn.Module):
    """Readout, the frame's features and, as guidance, the previous probabilities to logits at stride 4."""

    def __init__(self, channels: list[int], value_dim: int, target_dim: int, *, skip: bool) -> None:
        super().__init__()
        quarter, eighth = channels
        self.fuse = nn.Conv2d(value_dim + WIDTH + 2, WIDTH, 3, padding=1)
        self.fuse_rest = nn.Conv2d(2 * value_dim, WIDTH, 1)
        self.fuse_target = nn.Conv2d(target_dim, WIDTH, 1)
        self.parts = [value_dim, value_dim, value_dim, target_dim]
        for added in (self.fuse_rest, self.fuse_target):
            # A new model starts with the latest template alone.
            for parameter in added.parameters():
                nn.init.zeros_(parameter)
        self.refine = nn.Sequential(ResidualBlock(WIDTH), ResidualBlock(WIDTH))
        self.to_eighth = nn.Conv2d(WIDTH, 64, 1)
        self.skip_eighth = nn.Conv2d(eighth, 64, 1) if skip else None
        self.refine_eighth = ResidualBlock(64)
        self.to_quarter = nn.Conv2d(64, 32, 1)
        self.skip_quarter = nn.Conv2d(quarter, 32, 3, padding=1) if skip else None
        self.refine_quarter = ResidualBlock(32)
        self.predict = nn.Conv2d(32, 1, 3, padding=1)

    def forward(self, maps: tuple[Tensor, ...], readout: Tensor, guidance: Tensor | None) -> Tensor:
        """Logits ``(O, 1, h/4, w/4)``; ``readout`` is ``(O, Cr, H, W)``, ``guidance`` ``(O, 2, H, W)``."""
        quarter, eighth, coarse = maps
        permanent, latest, chosen, target = readout.split(self.parts, dim=1)
        rest = self.fuse_rest(concatenate([permanent, chosen])) + self.fuse_target(target)
        guidance = torch.zeros_like(latest[:, :2]) if guidance is None else guidance.to(latest)
        x = self.fuse(concatenate([latest, of_objects(coarse, len(latest)), guidance]))
        x = self.refine(x + rest)
        x = self._up(self.to_eighth(x), self.skip_eighth, eighth)
        x = self.refine_eighth(x)
        x = self._up(self.to_quarter(x), self.skip_quarter, quarter)
        x = self.refine_quarter(x)
        return self.predict(x.relu())

    @staticmethod
    def _up(x: Tensor, skip: nn.Module | None, fine: Tensor) -> Tensor:
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return x if skip is None else x + of_objects(skip(fine), len(x))


class LiteSegmenter(Segmenter):
    """A small network for CPUs; a :class:`~stremn.models.segmenter.Segmenter`."""

    def __init__(self, config: SegmenterConfig) -> None:
        """Random weights; :func:`stremn.training.segmentation.backbone.load_imagenet` fills the backbone."""
        super().__init__(config)
        if not config.shared_update_key or config.fusion != NO_FUSION:
            raise StremnError(
                "architecture 'lite' has one layer of update keys and no fusion: "
                "leave out shared_update_key and fusion"
            )
        self.backbone = timm.create_model(
            "efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), bn_eps=1e-3
        )
        channels = feature_channels(self.backbone)
        self.coarse = nn.Conv2d(channels[2], WIDTH, 1)
        self.context = nn.Conv2d(channels[3], WIDTH, 1)
        self.key = nn.Conv2d(WIDTH, config.key_dim, 3, padding=1)
        self.update_key = nn.Conv2d(WIDTH, config.update_dim, 1)
        self.value_encoder = ValueEncoder(channels[:2])
        self.value = nn.Conv2d(WIDTH, config.value_dim, 1)
        self.decoder = Decoder(channels[:2], config.value_dim, self.target_dim, skip=config.skip)

    @property
    def target_dim(self) -> int:
        """Channels of what two target models predict: value, mask and masks of the others."""
        return 2 * (self.config.value_dim + 2)

    def read(self, features: ImageFeatures, memory: SlotMemory) -> Tensor:
        """Permanent, latest and chosen slots each by itself, and two target models ``(O, N, Cr)``.

        See :mod:`stremn.memory.additions`.
        """
        query = of_objects(features.key, memory.objects)
        config = self.config
        readout = read_separately(memory, query, similarity=config.similarity, scale=config.scale)
        target = read_target(memory, of_objects(self._target_features(features), memory.objects))
        return torch.cat([readout, target.to(readout.dtype)], dim=-1)

    def find_again(self, features: ImageFeatures, state: SegmentationState) -> Tensor:
        """At the memory's stride, by the target model of the given slots, which costs next to nothing."""
        seen = read_given_target(
            state.memory,
            of_objects(self._target_features(features), state.memory.objects),
            slice(self.config.value_dim, self.config.value_dim + 1),  # after the value, see _moments
        )
        return to_map(seen, features.grid).clamp(0, 1)

    @staticmethod
    def _target_features(features: ImageFeatures) -> Tensor:
        """What a target model is linear in ``(B, N, Ck + C + 1)``: query key, coarsest map and a constant."""
        coarse = to_tokens(features.maps[-1]).float()
        return torch.cat([features.key.float(), coarse, torch.ones_like(coarse[..., :1])], dim=-1)

    def _moments(self, features: ImageFeatures, masks: Tensor, value: Tensor) -> Tensor:
        """What the target model learns from a frame: to predict value, mask and masks of the others.

        Args:
            features: of the frame.
            masks: of the objects ``(O, 1, h', w')`` in [0, 1].
            value: ``(O, N, Cv)``.

        Returns:
            ``(O, C, C + Cv + 2)``, see :func:`stremn.ops.target_moments`.
        """
        masks = self.resize(masks, features.grid)
        mask, others = (m.flatten(1) for m in (masks, others_of(masks, features.frames)))
        targets = torch.cat([value.float(), torch.stack([mask, others], dim=-1)], dim=-1)
        return target_moments(
            of_objects(self._target_features(features), len(masks)), targets, balanced_weights(mask)
        )

    def train(self, mode: bool = True) -> "LiteSegmenter":
        """As usual, but the backbone's batch norm always keeps its ImageNet statistics."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def encode_image(self, frames: Tensor) -> ImageFeatures:
        """Frames ``(B, 3, h, w)`` in [0, 1] to maps of stride 4, 8, 16 and the query key."""
        image = self.normalize(frames).contiguous(memory_format=torch.channels_last)
        quarter, eighth, sixteenth, last = self.backbone(image)
        context = F.interpolate(
            self.context(last), size=sixteenth.shape[-2:], mode="bilinear", align_corners=False
        )
        coarse = (self.coarse(sixteenth) + context).relu()
        return ImageFeatures(image, to_tokens(self.key(coarse)), (quarter, eighth, coarse))

    def encode_template(
        self, features: ImageFeatures, masks: Tensor, given: Tensor | None = None
    ) -> Template:
        """Key from the image alone; value and update key from image and mask at stride 4."""
        masks = self.mask_input(masks, given, features.maps[0].shape[-2:])
        encoded = self._encoded(features, masks, others_of(masks, features.frames))
        return self._template(features, masks, *encoded)

    def encode_around(self, features: ImageFeatures, masks: Tensor, regions: Sequence[Region]) -> Template:
        """The same; what several objects have in common outside of their regions is computed once."""
        if 1 + share_of(regions, features.grid) * len(masks) > WORTH * len(masks):
            return self.encode_template(features, masks)
        others, grid = others_of(masks, features.frames), features.grid
        every = masks.sum(dim=0, keepdim=True).clamp(0, 1)
        shared = self._encoded(features, torch.zeros_like(every), every)
        value, update_key = (t.repeat(len(masks), 1, 1) for t in shared)
        for position, region in enumerate(regions):
            own, seen = slice(position, position + 1), features.cut(region)
            parts = self._encoded(seen, *(region.cut(m[own], grid) for m in (masks, others)))
            for whole, part in zip((value, update_key), parts, strict=True):
                region.paste(to_map(whole[own], grid), to_map(part, seen.grid), grid)
        return self._template(features, masks, value, update_key)

    def _encoded(self, features: ImageFeatures, masks: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Value and update key ``(O, N, …)`` for masks at stride 4."""
        encoded = self.value_encoder(features.maps, masks, others)
        return to_tokens(self.value(encoded)), to_tokens(self.update_key(encoded))

    def _template(
        self, features: ImageFeatures, masks: Tensor, value: Tensor, update_key: Tensor
    ) -> Template:
        return Template(
            key=of_objects(features.key, len(masks)),
            value=value,
            update_key=update_key,
            moments=self._moments(features, masks, value),
        )

    def decode(self, features: ImageFeatures, readout: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Logits ``(O, 1, h/4, w/4)``."""
        return self.decoder(features.maps, to_map(readout, features.grid), guidance)
