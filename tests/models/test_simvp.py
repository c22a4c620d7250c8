"""SimVP: what it draws at once is gone on with frame by frame."""

import torch

from stremn.models import create_model
from stremn.models.predictor import forecast_clip

M = 3


@torch.no_grad()
def test_frames_are_drawn_at_once_and_then_taken_as_observed() -> None:
    torch.manual_seed(0)
    model = create_model("simvp-small", frames=M, spatial=4, temporal=8, blocks=1).eval()
    calls = []
    model.middle.register_forward_hook(lambda *_: calls.append(1))
    clip = torch.rand((1, 3 * M, 1, 8, 12))
    found = forecast_clip(model, clip, M)
    assert len(calls) == 2
    again = forecast_clip(model, torch.cat([found[:, :M], clip[:, :M]], dim=1), M)
    torch.testing.assert_close(found[:, M:], again)


@torch.no_grad()
def test_the_first_frame_stands_for_those_that_are_missing() -> None:
    torch.manual_seed(0)
    model = create_model("simvp-small", frames=M, spatial=4, temporal=8, blocks=1).eval()
    clip = torch.rand((1, 2, 1, 8, 12))
    padded = torch.cat([clip[:, :1], clip], dim=1)
    full, few = (forecast_clip(model, torch.cat([c, c], dim=1), c.shape[1]) for c in (padded, clip))
    torch.testing.assert_close(few[:, :2], full[:, :2])
