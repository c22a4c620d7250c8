"""What a frame leaves in memory, made of what it shows and of what is read there."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stremn.memory import SlotMemory
from stremn.models.segmenter import to_map
from stremn.ops import space_time_read

__all__ = ["Recurrence", "Step"]

SLOPE = 0.2

GROUPS = 8

NEAR = (2.0, 1.5)
"""Factors on positions and on frames in the key of an untrained near read: nearly all of its weight is at its
own place in the newest template."""

FAR = (0.15, 0.1)
"""The same for the far read, which only leans towards what is near."""

SHARPNESS = 1.0
"""Logarithm of the factor on far keys at first, so that what looks alike stands out from the start."""

FAR_VALUE = 16
"""Channels of a far value that are projected; place and frame come to them."""


@dataclass(frozen=True)
class Step:
    """What the recurrence makes of one frame: maps ``(B, C, H, W)``.

    Attributes:
        key: of the near read and of the far one, to be remembered.
        value: of both, to be remembered.
        state: the part of the value that the decoder sees.
        readout: of the near read; of the first frame, its own state.
    """

    key: Tensor
    value: Tensor
    state: Tensor
    readout: Tensor


class Recurrence(nn.Module):
    """Two reads of the slot memory, and a template that is made of them: the memory as a recurrent state.

    A template that is made of one stack of frames alone tells a reader no more of speed than the reader's
    own stack does. Here it also holds what was read when it was written, through a gate (as in the gated
    recurrent unit of Cho et al. 2014, https://arxiv.org/abs/1406.1078), so that what was found out once goes
    on from frame to frame. Both reads are Eq. (5) with negative squared distances; distances in place and
    frame join those of the keys.

    - The *near* read starts at its own place in the newest template and learns to look elsewhere.
    - The *far* read looks for what looks alike in all slots. Its values hold how far away and how long ago
      that was, whose quotient is a speed, whatever slots were read from.
    """

    far_reach: Tensor

    def __init__(self, width: int, key_dim: int, value_dim: int) -> None:
        """Weights.

        Args:
            width: channels of the encoder's map.
            key_dim: Dk, of each of both reads.
            value_dim: Dv, of the near read.
        """
        super().__init__()
        self.key_dim, self.value_dim = key_dim, value_dim
        self.key = nn.Conv2d(width, key_dim, 1)
        self.far = nn.Conv2d(width, key_dim + FAR_VALUE, 1)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        self.near_reach = nn.Parameter(torch.tensor(NEAR))
        self.register_buffer("far_reach", torch.tensor(FAR), persistent=False)
        joined = width + value_dim + FAR_VALUE + 3
        self.join = nn.Sequential(
            nn.Conv2d(joined, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.value = nn.Conv2d(width, value_dim, 1)
        self.gate = nn.Conv2d(joined, value_dim, 3, padding=1)

    def forward(self, seen: Tensor, index: Tensor, memory: SlotMemory | None) -> Step:
        """One frame.

        Args:
            seen: the encoder's map ``(B, width, H, W)``.
            index: frame index ``(B,)``.
            memory: what there is to read; ``None`` at the first frame.
        """
        grid = (seen.shape[2], seen.shape[3])
        key, far_key, far_value = self._project(seen)
        if memory is None:
            readout = seen.new_zeros((len(seen), self.value_dim, *grid), dtype=torch.float32)
            found = seen.new_zeros((len(seen), FAR_VALUE + 3, *grid), dtype=torch.float32)
        else:
            # In half precision, distances between places of a large map would be lost.
            with torch.autocast(seen.device.type, enabled=False):
                readout, found = self._read(key, far_key, index, memory, grid)
        joined = torch.cat([seen, readout.to(seen.dtype), found.to(seen.dtype)], dim=1)
        state = self.value(seen + self.join(joined))
        keep = torch.sigmoid(self.gate(joined))
        state = state + keep * (readout.to(state.dtype) - state)
        return Step(
            key=torch.cat([key, far_key], dim=1),
            value=torch.cat([state.float(), far_value], dim=1),
            state=state,
            readout=state.float() if memory is None else readout,
        )

    def _project(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys of both reads, scaled so that their squared distances are what Eq. (5) exponentiates; float32."""
        scale = self.key_dim**-0.25
        far_key, far_value = self.far(seen).float().split([self.key_dim, FAR_VALUE], dim=1)
        return self.key(seen).float() * scale, far_key * (scale * self.sharpness.exp()), far_value

    def _read(
        self, key: Tensor, far_key: Tensor, index: Tensor, memory: SlotMemory, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The readout ``(B, Dv, H, W)`` and what the far read found ``(B, FAR_VALUE + 3, H, W)``."""
        here = _places(grid, key)
        there = _remembered(memory, here, index)
        now = torch.cat([here, here.new_zeros(len(here), 1)], dim=1).expand(len(key), -1, -1)
        keys = memory.key.flatten(1, 2).float().split([self.key_dim, self.key_dim], dim=2)
        values = memory.value.flatten(1, 2).float().split([self.value_dim, FAR_VALUE], dim=2)
        occupied = memory.occupied.repeat_interleave(len(here), dim=1)

        def read(query: Tensor, key: Tensor, value: Tensor, reach: Tensor) -> Tensor:
            reach = reach[[0, 0, 1]]
            query = torch.cat([query.flatten(2).transpose(1, 2), now * reach], dim=2)
            key = torch.cat([key, there * reach], dim=2)
            return space_time_read(query, key, value, similarity="l2", scale=1.0, occupied=occupied)

        readout = read(key, keys[0], values[0], self.near_reach)
        found = read(far_key, keys[1], torch.cat([values[1], there], dim=2), self.far_reach)
        away = (found[..., FAR_VALUE:] - now) / 4
        return to_map(readout, grid), to_map(torch.cat([found[..., :FAR_VALUE], away], dim=2), grid)


def _places(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Row and column of each position ``(H·W, 2)``, from the middle."""
    rows, columns = (torch.arange(n, device=like.device, dtype=like.dtype) - n / 2 for n in grid)
    return torch.cartesian_prod(rows, columns)


def _remembered(memory: SlotMemory, places: Tensor, index: Tensor) -> Tensor:
    """Row, column and frame of all that is in memory ``(B, K·N, 3)``; frames from the reader's, below zero.

    Counted from the reader's, since squares of the frame index of a long video have too many digits.
    """
    ago = (memory.frame_index - index[:, None]).to(places.dtype)
    batch, slots = ago.shape
    return torch.cat(
        [
            places.expand(batch, slots, -1, -1),
            ago[:, :, None, None].expand(-1, -1, len(places), 1),
        ],
        dim=3,
    ).flatten(1, 2)
