"""The next frame as the last one, moved, and drawn anew where it cannot be moved from."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Moved"]

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
