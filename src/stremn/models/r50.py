"""``stremn-r50``: the paper's network, STM's encoders and decoder around the slot memory (Sec. 4.1.1).

STM is https://arxiv.org/abs/1904.00607. Differences that the paper states: group norm for batch norm, ASPP on
the readout, and (Sec. 3.3) no highway connections unless ``config.skip`` asks for them.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import Template
from stremn.models.config import SegmenterConfig
from stremn.models.layers import ASPP, ResidualBlock, feature_channels, to_map, to_tokens
from stremn.models.segmenter import ImageFeatures, Segmenter, of_objects, others_of

__all__ = ["PaperSegmenter"]

DECODER_WIDTH = 256


class Refine(nn.Module):
    """Double the resolution, with the frame's own features where there is a skip."""

    def __init__(self, fine: int, *, skip: bool) -> None:
        super().__init__()
        self.skip = (
            nn.Sequential(nn.Conv2d(fine, DECODER_WIDTH, 3, padding=1), ResidualBlock(DECODER_WIDTH))
            if skip
            else None
        )
        self.refine = ResidualBlock(DECODER_WIDTH)

    def forward(self, x: Tensor, fine: Tensor) -> Tensor:
        """``(O, 256, H, W)`` to ``(O, 256, 2H, 2W)``."""
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.refine(x if self.skip is None else x + of_objects(self.skip(fine), len(x)))


class PaperSegmenter(Segmenter):
    """The paper's network on two ResNet-50; a :class:`~stremn.models.segmenter.Segmenter`."""

    def __init__(self, config: SegmenterConfig) -> None:
        """Random weights; :func:`stremn.training.segmentation.backbone.load_imagenet` fills both encoders."""
        super().__init__(config)
        options: dict[str, Any] = {"features_only": True, "out_indices": (1, 2, 3)}
        self.query_encoder = timm.create_model("resnet50_gn", **options)
        # One convolution over five channels equals the sum of STM's three over image, mask and other objects.
        self.memory_encoder = timm.create_model("resnet50_gn", in_chans=5, **options)
        quarter, eighth, coarse = feature_channels(self.query_encoder)
        self.query_key = nn.Conv2d(coarse, config.key_dim, 3, padding=1)
        self.query_value = nn.Conv2d(coarse, config.value_dim, 3, padding=1)
        self.memory_key = nn.Conv2d(coarse, config.key_dim, 3, padding=1)
        self.memory_value = nn.Conv2d(coarse, config.value_dim, 3, padding=1)
        self.update_key = nn.Conv2d(coarse, config.update_dim, 3, padding=1)
        self.contender_key = (
            None if config.shared_update_key else nn.Conv2d(coarse, config.update_dim, 3, padding=1)
        )
        self.aspp = ASPP(2 * config.value_dim, DECODER_WIDTH)
        self.fuse = nn.Sequential(
            nn.Conv2d(DECODER_WIDTH, DECODER_WIDTH, 3, padding=1), ResidualBlock(DECODER_WIDTH)
        )
        self.refine_eighth = Refine(eighth, skip=config.skip)
        self.refine_quarter = Refine(quarter, skip=config.skip)
        self.predict = nn.Conv2d(DECODER_WIDTH, 1, 3, padding=1)

    def encode_image(self, frames: Tensor) -> ImageFeatures:
        """Frames ``(B, 3, h, w)`` in [0, 1] to maps of stride 4, 8, 16 and the query key."""
        image = self.normalize(frames)
        maps = tuple(self.query_encoder(image))
        return ImageFeatures(image, to_tokens(self.query_key(maps[-1])), maps, logit_stride=1)

    def encode_template(
        self, features: ImageFeatures, masks: Tensor, given: Tensor | None = None
    ) -> Template:
        """The memory encoder sees image, mask and the masks of the other objects, all of the frame's size."""
        image = features.image
        masks = self.mask_input(masks, given, image.shape[-2:]).to(image)
        seen = [of_objects(image, len(masks)), masks, others_of(masks, features.frames)]
        encoded = self.memory_encoder(torch.cat(seen, dim=1))[-1]
        asking = self.contender_key
        return Template(
            key=to_tokens(self.memory_key(encoded)),
            value=to_tokens(self.memory_value(encoded)),
            update_key=to_tokens(self.update_key(encoded)),
            contender_key=None if asking is None else to_tokens(asking(encoded)),
        )

    def decode(self, features: ImageFeatures, readout: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Logits ``(O, 1, h, w)`` from readout and query value, concatenated as in Eq. (5)."""
        quarter, eighth, coarse = features.maps
        value = of_objects(self.query_value(coarse), len(readout))
        x = self.aspp(torch.cat([to_map(readout, features.grid), value], dim=1))
        x = self.refine_eighth(self.fuse(x), eighth)
        x = self.refine_quarter(x, quarter)
        # Objects compete at full size, as in STM (V4).
        return F.interpolate(self.predict(x.relu()), scale_factor=4, mode="bilinear", align_corners=False)
