"""The next frame as the last one, moved, and drawn anew where it cannot be moved from."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import Rules, SlotMemory, Template
from stremn.models.config import BLOCKS, PredictorConfig
from stremn.models.layers import to_map, to_tokens
from stremn.models.predictor import Predictor, PredictorState, to_unit_range

__all__ = ["MemoryPredictor", "Moved", "conv_block"]

SPACING = 2.0
"""Pixels between the places that an untrained model mixes a pixel from."""

STILL = 4.0
"""Logit, others 0, of a pixel's own place where an untrained model is to nearly repeat the last frame."""

DRAWN = -4.0
"""Logit of the share that an untrained model draws anew."""


class Moved(nn.Module):
    """Mixes each pixel of the next frame from places in the last one, both foreseen by the decoder.

    A place is a displacement in pixels, read between pixels bilinearly; the places of a pixel have weights
    that are positive and sum to one (after the kernels of Jia et al. 2016, *Dynamic Filter Networks*,
    https://arxiv.org/abs/1605.09673, and the offsets of Dai et al. 2017, https://arxiv.org/abs/1703.06211). A
    share, foreseen as well, goes to what the decoder draws, for what was hidden or outside (Finn et al. 2016,
    https://arxiv.org/abs/1605.07157). Neither leaves [0, 1], nor is any pixel amplified: fed back for any
    number of frames, the frames stay in range.
    """

    def __init__(self, channels: int, side: int, cell: int, *, still: bool = True) -> None:
        """Weights.

        Args:
            channels: of the decoder's map.
            side: the places of a pixel start as a square of so many by so many around it; odd.
            cell: places are foreseen for every ``cell`` by ``cell`` pixels and interpolated between.
            still: start from the last frame, else from an even mixture of the places.
        """
        super().__init__()
        self.count, self.cell = side**2, cell
        self.places = nn.Conv2d(channels, 3 * self.count, cell, stride=cell)
        self.share = nn.Conv2d(channels, 1, 3, padding=1)
        steps = (torch.arange(side) - side // 2) * SPACING
        dy, dx = torch.meshgrid(steps, steps, indexing="ij")
        assert self.places.bias is not None
        assert self.share.bias is not None
        with torch.no_grad():
            self.places.bias.zero_()
            self.places.bias[: 2 * self.count] = torch.stack([dx, dy], dim=-1).flatten()
            self.places.bias[2 * self.count + self.count // 2] = STILL if still else 0.0
            self.share.bias.fill_(DRAWN)

    def forward(self, x: Tensor, last: Tensor, drawn: Tensor) -> Tensor:
        """The next frame, float32 in [0, 1].

        Args:
            x: ``(B, channels, h, w)``.
            last: the last frame ``(B, C, h, w)`` in [0, 1]; beyond its edges it goes on as at the edge.
            drawn: ``(B, C, h, w)``, before the sigmoid that makes it a frame.
        """
        places = self.places(x).float()
        if self.cell > 1:
            places = F.interpolate(places, size=x.shape[-2:], mode="bilinear", align_corners=False)
        shifts, weights = places.split([2 * self.count, self.count], dim=1)
        seen = self._look(last.float(), shifts)
        moved = (seen * weights.softmax(dim=1).unsqueeze(1)).sum(dim=2)
        share = torch.sigmoid(self.share(x).float())
        return moved + share * (torch.sigmoid(drawn.float()) - moved)

    def _look(self, last: Tensor, shifts: Tensor) -> Tensor:
        """``(B, C, N, h, w)``: what lies at each pixel's N places; shifts ``(B, 2·N, h, w)``, x then y."""
        batch, channels, height, width = last.shape
        rows = torch.arange(height, device=last.device, dtype=last.dtype)
        columns = torch.arange(width, device=last.device, dtype=last.dtype)
        dx, dy = shifts.view(batch, self.count, 2, height, width).unbind(dim=2)
        # To -1 … 1 between the outer edges of the frame, as grid_sample counts.
        x = (2 * (columns + dx) + 1) / width - 1
        y = (2 * (rows[:, None] + dy) + 1) / height - 1
        grid = torch.stack([x, y], dim=-1).view(batch, self.count * height, width, 2)
        seen = F.grid_sample(last, grid, mode="bilinear", padding_mode="border", align_corners=False)
        return seen.view(batch, channels, self.count, height, width)


SLOPE = 0.2
"""Of the leaky ReLU below zero."""

GROUPS = 8


class Block(nn.Module):
    """Two convolutions, group norm, leaky ReLU (Sec. 4.2); a leaky ReLU stands between the two as well."""

    def __init__(self, first: nn.Module, second: nn.Module, width: int, skip: int = 0) -> None:
        """``skip`` channels of a finer map join before the norm, where there are any."""
        super().__init__()
        self.first, self.second = first, second
        self.skip = nn.Conv2d(skip, width, 1) if skip else None
        self.norm = nn.GroupNorm(math.gcd(GROUPS, width), width)

    def forward(self, x: Tensor, fine: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` to ``(B, width, H', W')``; ``fine`` is ``(B, skip, H', W')``."""
        x = self.second(F.leaky_relu(self.first(x), SLOPE))
        if self.skip is not None:
            x = x + self.skip(fine)
        return F.leaky_relu(self.norm(x), SLOPE)


def conv_block(channels: int, width: int, stride: int = 1, skip: int = 0) -> Block:
    """A block of two 3×3 convolutions, the first of which has the stride."""
    first = nn.Conv2d(channels, width, 3, stride=stride, padding=1)
    return Block(first, nn.Conv2d(width, width, 3, padding=1), width, skip)


def _up(channels: int, width: int, stride: int, skip: int) -> Block:
    # A kernel of stride + 2 with a padding of 1 makes sides exactly stride times as long.
    return Block(
        nn.ConvTranspose2d(channels, width, 3, padding=1),
        nn.ConvTranspose2d(width, width, stride + 2, stride=stride, padding=1),
        width,
        skip,
    )


class Decoder(nn.Module):
    """The encoder's blocks in reverse, with transposed convolutions, and a last convolution to the pixels."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        widths = (config.widths[0], *config.widths[:-1])
        fine = (config.channels * config.stack, *config.widths)
        channels = 2 * config.value_dim
        self.blocks = nn.ModuleList()
        self.joins: list[int | None] = []
        for place in reversed(range(BLOCKS)):
            stride = config.strides[place]
            joins = config.skip and stride > 1
            self.blocks.append(_up(channels, widths[place], stride, fine[place] if joins else 0))
            self.joins.append(place if joins else None)
            channels = widths[place]
        self.pixels = nn.Conv2d(channels, config.channels, 3, padding=1)
        self.moved = (
            Moved(channels, config.motion, config.strides[0], still=config.still) if config.motion else None
        )

    def forward(self, x: Tensor, maps: dict[int, Tensor], last: Tensor) -> Tensor:
        """``(B, 2·Dv, H, W)`` to ``(B, C, h, w)``.

        ``maps`` are what the encoder's blocks took in, ``last`` is the frame before ``(B, C, h, w)``.
        """
        for block, place in zip(self.blocks, self.joins, strict=True):
            x = block(x, None if place is None else maps[place])
        drawn = self.pixels(x)
        return drawn if self.moved is None else self.moved(x, last, drawn)


class MemoryPredictor(Predictor):
    """The paper's network for prediction; a :class:`~stremn.models.predictor.Predictor`.

    The state carries the last frames ``recent`` ``(B, S·C, h, w)``, the ``frame_index`` ``(B,)``, and what
    the next frame is decoded from: the ``readout`` and the query's ``value``, both ``(B, Dv, H, W)``, and
    with skips the encoder's finer maps ``fine.*``.
    """

    config: PredictorConfig

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__(config)
        inputs = (config.channels * config.stack, *config.widths[:-1])
        self.encoder = nn.ModuleList(
            conv_block(channels, width, stride)
            for channels, width, stride in zip(inputs, config.widths, config.strides, strict=True)
        )
        self.key = nn.Conv2d(config.widths[-1], config.key_dim, 1)
        self.value = nn.Conv2d(config.widths[-1], config.value_dim, 1)
        self.update_key = nn.Conv2d(config.widths[-1], config.update_dim, 1)
        self.contender_key = (
            None if config.shared_update_key else nn.Conv2d(config.widths[-1], config.update_dim, 1)
        )
        self.decoder = Decoder(config)

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        """Encode the stack that ends with the frame, read, and write its template; see the base class.

        What the stack is looked up in are the templates before it, as in Fig. 1: read, then write. Only the
        first stack finds nothing but itself.
        """
        self._check(frame)
        rules = self.rules() if rules is None else rules
        assert rules is not None
        recent = self._recent(frame, state)
        fine, coarse = self._encode(recent)
        key, value, update_key = (p(coarse) for p in (self.key, self.value, self.update_key))
        asking = None if self.contender_key is None else to_tokens(self.contender_key(coarse))
        template = Template(to_tokens(key), to_tokens(value), to_tokens(update_key), contender_key=asking)
        if state is None or state.memory is None:
            index = torch.zeros(frame.shape[0], dtype=torch.long, device=frame.device)
            memory = SlotMemory.of_first_frame(template, index, rules.layout)
            readout = self._read(template.key, memory)
        else:
            index = state.carried["frame_index"] + 1
            readout = self._read(template.key, state.memory)
            memory = state.memory.update(
                *(template, index, rules.policy),
                noise=rules.noise,
                tau=rules.tau,
                generator=rules.generator,
            )
        if not rules.readout:
            readout = torch.zeros_like(readout)
        grid = (coarse.shape[2], coarse.shape[3])
        carried = {"recent": recent, "frame_index": index, "readout": to_map(readout, grid), "value": value}
        return PredictorState(carried | {f"fine.{place}": m for place, m in fine.items()}, memory)

    def predict(self, state: PredictorState) -> Tensor:
        """Decode readout and query value, concatenated as in Eq. (5); see the base class."""
        carried = state.carried
        fine = {int(n.removeprefix("fine.")): t for n, t in carried.items() if n.startswith("fine.")}
        last = carried["recent"][:, -self.config.channels :]
        return to_unit_range(
            self.decoder(torch.cat([carried["readout"], carried["value"]], dim=1), fine, last)
        )

    def _recent(self, frame: Tensor, state: PredictorState | None) -> Tensor:
        """The last frames, the newest last; before the first one there is the first one (P1)."""
        if state is None:
            return frame.repeat(1, self.config.stack, 1, 1)
        return torch.cat([state.carried["recent"][:, self.config.channels :], frame], dim=1)

    def _encode(self, recent: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """The maps that the decoder joins, by the block that takes them in, and the coarsest map."""
        # Black is -1, not 0, so that the padding around the frame can be told from it. Channels last: on a
        # CPU, transposed convolutions take a quarter of the time.
        x = (2 * recent - 1).contiguous(memory_format=torch.channels_last)
        fine = {}
        for place, block in enumerate(self.encoder):
            if place in self.decoder.joins:
                fine[place] = x
            x = block(x)
        return fine, x

    def _read(self, key: Tensor, memory: SlotMemory) -> Tensor:
        return memory.read(key, similarity=self.config.similarity, scale=self.config.scale)
