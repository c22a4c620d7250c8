"""``stremn-r50`` and its memory told again from the paper: weights by name, lists, loops, float64.

Nothing of the package is called. From a checkpoint come the numbers; what is done with them is written down
here from the text: Sec. 3.2, 3.3, 4.1.1, and STM (https://arxiv.org/abs/1904.00607) where the paper refers
to it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = (3, 4, 6)
"""Of ResNet-50 in its stages up to stride 16."""
RATES = (6, 12, 18)
CHOSEN = 4
"""Slots besides that of the first and that of the latest frame: K = 6 (Sec. 4.1.1)."""
CLEAR = 1e-5
"""The two best scores of a contest must be farther apart, or rounding could decide it."""


@dataclass(frozen=True)
class PlainTemplate:
    """One frame of one object, positions ``(N, C)``."""

    frame: int
    key: Tensor
    value: Tensor
    stored: Tensor
    contender: Tensor


@dataclass
class PlainObject:
    """The memory of one object."""

    first: PlainTemplate
    latest: PlainTemplate | None = None
    chosen: list[PlainTemplate] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)

    @property
    def templates(self) -> list[PlainTemplate]:
        """All that it holds, in the order of the slots."""
        return [self.first, *([self.latest] if self.latest else []), *self.chosen]

    def frames(self) -> list[int]:
        """In each slot, -1 where it is empty."""
        held = [t.frame for t in self.templates]
        return held + [-1] * (2 + CHOSEN - len(held))

    def write(self, new: PlainTemplate) -> None:
        """Sec. 3.2: while there is room the former latest template is added, afterwards it replaces one."""
        before, self.latest = self.latest, new
        if before is None:
            return
        if len(self.chosen) < CHOSEN:
            self.chosen.append(before)
            return
        scores = [similarity(before.contender, old.stored) for old in self.chosen]
        best, second = sorted(scores, reverse=True)[:2]
        assert best - second > CLEAR
        self.replaced.append(scores.index(best))
        self.chosen[scores.index(best)] = before


def similarity(new: Tensor, old: Tensor) -> float:
    """Eq. (1)."""
    total = 0.0
    for p in new:
        total += max(float(p @ q) / (float(p.norm()) * float(q.norm())) for q in old)
    return total / len(new)


def read(query: Tensor, templates: list[PlainTemplate]) -> Tensor:
    """The first half of Eq. (5), the exponent divided by √Dk as in STM's code: ``(N, Dv)``."""
    readout = []
    for k in query:
        total, mixed = 0.0, torch.zeros(templates[0].value.shape[1], dtype=torch.float64)
        for template in templates:
            for key, value in zip(template.key, template.value, strict=True):
                weight = math.exp(float(k @ key) / math.sqrt(len(k)))
                total += weight
                mixed += weight * value
        readout.append(mixed / total)
    return torch.stack(readout)


def compete(logits: list[Tensor]) -> list[Tensor]:
    """STM's soft aggregation: probabilities of the background and of each object, which add up to one."""
    alone = [1 / (1 + (-x).exp()) for x in logits]
    nobody = torch.ones_like(alone[0])
    for p in alone:
        nobody = nobody * (1 - p)
    odds = [p / (1 - p) for p in (nobody, *alone)]
    total = torch.stack(odds).sum(dim=0)
    return [o / total for o in odds]


def enlarged(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """``(h, w)`` bilinearly to ``size``."""
    return F.interpolate(plane[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]


def positions(feature_map: Tensor) -> Tensor:
    """``(1, C, H, W)`` to ``(N, C)``."""
    return feature_map[0].flatten(1).T


class PlainSegmenter:
    """The network and what it has seen of one video."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self.weights = {name: tensor.double() for name, tensor in weights.items()}
        self.objects: list[PlainObject] = []
        self.frame = -1
        # One layer makes both update keys unless the network has another one for the contender.
        known = ("query_key", "memory_key", "update_key")
        others = {n.split(".")[0] for n in weights if n.split(".")[0].endswith("_key")} - {*known}
        self.contender_key = others.pop() if others else "update_key"
        assert not others

    def conv(self, x: Tensor, name: str, *, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.weights.get(f"{name}.bias"), stride, padding, dilation)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Group norm of 32 groups."""
        groups = x.reshape(1, 32, -1)
        mean = groups.mean(dim=2, keepdim=True)
        variance = ((groups - mean) ** 2).mean(dim=2, keepdim=True)
        x = ((groups - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)
        scale, shift = (self.weights[f"{name}.{part}"].reshape(1, -1, 1, 1) for part in ("weight", "bias"))
        return x * scale + shift

    def resnet(self, x: Tensor, name: str) -> list[Tensor]:
        """ResNet-50 with group norm to the maps of stride 4, 8 and 16."""
        x = self.norm(self.conv(x, f"{name}.conv1", stride=2), f"{name}.bn1").relu()
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for stage, blocks in enumerate(BLOCKS, start=1):
            for block in range(blocks):
                here = f"{name}.layer{stage}.{block}"
                stride = 2 if stage > 1 and block == 0 else 1
                y = self.norm(self.conv(x, f"{here}.conv1"), f"{here}.bn1").relu()
                y = self.norm(self.conv(y, f"{here}.conv2", stride=stride), f"{here}.bn2").relu()
                y = self.norm(self.conv(y, f"{here}.conv3"), f"{here}.bn3")
                if block == 0:
                    x = self.conv(x, f"{here}.downsample.0", stride=stride)
                    x = self.norm(x, f"{here}.downsample.1")
                x = (x + y).relu()
            maps.append(x)
        return maps

    def residual(self, x: Tensor, name: str) -> Tensor:
        return x + self.conv(self.conv(x.relu(), f"{name}.first").relu(), f"{name}.second")

    def aspp(self, x: Tensor) -> Tensor:
        def layer(x: Tensor, name: str, dilation: int = 1) -> Tensor:
            return self.norm(self.conv(x, f"aspp.{name}.0", dilation=dilation), f"aspp.{name}.1").relu()

        branches = [layer(x, "point")]
        branches += [layer(x, f"dilated.{i}", rate) for i, rate in enumerate(RATES)]
        mean = layer(x.mean(dim=(2, 3), keepdim=True), "pooled")
        return layer(torch.cat([*branches, mean.expand_as(branches[0])], dim=1), "fuse")

    def refine(self, x: Tensor, fine: Tensor, name: str) -> Tensor:
        x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        if f"{name}.skip.0.weight" in self.weights:
            x = x + self.residual(self.conv(fine, f"{name}.skip.0"), f"{name}.skip.1")
        return self.residual(x, f"{name}.refine")

    def template(self, image: Tensor, mask: Tensor, others: Tensor) -> PlainTemplate:
        """The memory encoder sees the frame, the object's mask and the masks of the other objects."""
        seen = torch.cat([image, mask[None, None], others[None, None]], dim=1)
        coarse = self.resnet(seen, "memory_encoder")[-1]
        layers = ("memory_key", "memory_value", "update_key", self.contender_key)
        return PlainTemplate(self.frame, *(positions(self.conv(coarse, layer)) for layer in layers))

    def templates(self, image: Tensor, masks: list[Tensor]) -> list[PlainTemplate]:
        others = [sum(masks) - mask for mask in masks]
        return [self.template(image, m, o.clamp(0, 1)) for m, o in zip(masks, others, strict=True)]

    def logits(self, maps: list[Tensor], thing: PlainObject) -> Tensor:
        """Eq. (5) and the decoder: ``(h/4, w/4)``."""
        quarter, eighth, coarse = maps
        readout = read(positions(self.conv(coarse, "query_key")), thing.templates)
        readout = readout.T.reshape(1, -1, *coarse.shape[-2:])
        x = self.aspp(torch.cat([readout, self.conv(coarse, "query_value")], dim=1))
        x = self.residual(self.conv(x, "fuse.0"), "fuse.1")
        x = self.refine(self.refine(x, eighth, "refine_eighth"), quarter, "refine_quarter")
        return self.conv(x.relu(), "predict")[0, 0]

    def start(self, frame: Tensor, masks: list[Tensor]) -> None:
        """The first frame ``(h, w, 3)`` in [0, 1] with a mask of each object ``(h, w)``."""
        self.frame = 0
        self.objects += [PlainObject(first) for first in self.templates(normalised(frame), masks)]

    def step(self, frame: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The next frame.

        Returns:
            Probabilities of each object at the frame's size ``(h, w)``; and scores of the background and of
            each object, of which the largest wins.
        """
        self.frame += 1
        image, size = normalised(frame), (frame.shape[0], frame.shape[1])
        maps = self.resnet(image, "query_encoder")
        found = compete([enlarged(self.logits(maps, thing), size) for thing in self.objects])
        for thing, new in zip(self.objects, self.templates(image, found[1:]), strict=True):
            thing.write(new)
        return found[1:], found


def normalised(frame: Tensor) -> Tensor:
    """``(h, w, 3)`` in [0, 1] to ``(1, 3, h, w)`` as ImageNet's networks see it."""
    mean, std = (torch.tensor(x, dtype=torch.float64) for x in (MEAN, STD))
    return ((frame - mean) / std).permute(2, 0, 1)[None]
