"""The network that foresees displacements: what it does untrained, and what its parts can do."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.nn import functional as F

from small_models import fill_added
from stremn.models import Predictor, PredictorState, create_model, motion
from stremn.models.displacement import affine_field, sample, velocity_between
from stremn.models.predictor import forecast_clip

NARROW = {"width": 4, "key_dim": 8, "update_dim": 8}


def untrained(**changes: object) -> Predictor:
    """As it is made, but for the other sources, which weigh nothing at all."""
    torch.manual_seed(0)
    model = create_model("stremn-motion", **(NARROW | changes)).eval()
    torch.nn.init.constant_(model.share[-1].bias, -30)
    return model


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth and random, ``(3, h, w)``."""
    coarse = torch.rand((1, 3, height // 4, width // 4), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def panned(offsets: list[int], size: int = 64) -> Tensor:
    """Frames ``(1, T, 3, size, size)`` of a camera that looks at a wide picture."""
    wide = picture(size, size + max(offsets))
    return torch.stack([wide[:, :, o : o + size] for o in offsets])[None]


def observe_all(model: Predictor, frames: Tensor, slots: int | None = None) -> PredictorState:
    state, rules = None, model.rules(slots=slots, policy="oldest")
    for frame in frames.unbind(1):
        state = model.observe(frame, state, rules)
    assert state is not None
    return state


@torch.no_grad()
def test_untrained_the_flow_of_the_last_two_frames_is_carried_on_and_read_once() -> None:
    frames = torch.stack([picture(48, 64), 0.7 * picture(48, 64) + 0.3 * picture(48, 64, 1)])[None]
    found = forecast_clip(untrained(), F.pad(frames, (0,) * 7 + (4,)), 2)
    velocity = velocity_between(frames[:, 1], frames[:, 0])[0].double().numpy()
    grid = np.mgrid[:48, :64][::-1].astype(float)

    def read(maps: np.ndarray, way: np.ndarray) -> np.ndarray:
        x, y = grid + way
        return np.stack([map_coordinates(m, [y, x], order=1, mode="nearest") for m in maps])

    way, step = np.zeros_like(velocity), velocity
    for t in range(4):
        step = read(step, step)
        way = step + read(way, step)
        expected = read(frames[0, 1].double().numpy(), way)
        assert np.abs(found[0, t].numpy() - expected).max() < 2e-3


@torch.no_grad()
def test_whatever_the_weights_a_still_scene_is_copied_to_the_last_bit() -> None:
    model = fill_added(untrained(), std=1.0)
    lively = torch.rand((1, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    still = (picture(32, 32)[None, None] * 255).round() / 255
    frames = torch.cat([lively, still.expand(-1, 6 + 20, -1, -1, -1)], dim=1)
    found = forecast_clip(model, frames, 8)
    assert torch.equal((found * 255).round(), (frames[:, 8:] * 255).round())
    # As long as something moved, the weights have a say.
    assert not torch.equal(
        (forecast_clip(model, frames[:, :9], 3) * 255).round(), (frames[:, 3:9] * 255).round()
    )


@torch.no_grad()
def test_a_moving_picture_is_followed_between_pixels() -> None:
    wide = picture(64, 128)[None]
    velocity = torch.tensor([1.3, 0.0]).view(1, 2, 1, 1).expand(1, 2, 64, 128)
    frames = torch.stack([sample(wide, t * velocity)[:, :, :, :64] for t in range(12)], dim=1)
    found = forecast_clip(untrained(), frames, 3)
    inner = (..., slice(8, -8), slice(8, -28))
    error = ((found - frames[:, 3:])[inner] ** 2).mean(dim=(0, 2, 3, 4))
    copied = ((frames[:, 2:3] - frames[:, 3:])[inner] ** 2).mean(dim=(0, 2, 3, 4))
    assert (error < copied / 50).all()


@torch.no_grad()
def test_a_hundred_steps_ahead_is_read_from_the_observed_frame_once(monkeypatch: pytest.MonkeyPatch) -> None:
    velocity = torch.tensor([0.11, -0.07]).view(1, 2, 1, 1).expand(1, 2, 32, 32).contiguous()
    monkeypatch.setattr(motion, "velocity_between", lambda frame, before: velocity)
    frames = torch.rand((1, 102, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    found = forecast_clip(untrained(), frames, 2)
    torch.testing.assert_close(found[:, -1], sample(frames[:, 1], 100 * velocity), atol=1e-3, rtol=0)


@torch.no_grad()
def test_a_camera_that_comes_back_finds_in_a_slot_what_left_the_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offsets = [0, 0, 8, 16, 24, 16, 8, 0]
    frames = panned(offsets)
    told = iter([0, *(b - a for a, b in pairwise(offsets))])

    def exact(frame: Tensor, before: Tensor) -> Tensor:
        return torch.tensor([float(next(told)), 0.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64).contiguous()

    monkeypatch.setattr(motion, "velocity_between", exact)
    monkeypatch.setattr(
        motion.MotionPredictor, "_aligned", lambda self, frame, *ways_and_rest: ways_and_rest[:2]
    )
    model = untrained(slots=6)
    state = observe_all(model, frames[:, :-1])
    assert sorted(state.memory.frame_index[0].tolist()) == [0, 1, 2, 3, 4, 5]
    seen = (model.predict(state) - frames[:, -1]).abs()
    assert seen[..., 8:].max() < 1e-4
    assert seen[..., :8].mean() > 0.05
    # Told to take from the slots wherever they show the place.
    for layer in (*model.asked, model.offered, *model.share):
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.zero_()
    model.asked[-1].bias[0], model.offered.weight[0, 4, 1, 1] = 1, -1
    model.share[1].weight[0, 0, 1, 1], model.share[1].bias[0], model.share[-1].weight[0, 0] = 60, 0, 1
    told = iter([0, *(b - a for a, b in pairwise(offsets))])
    state = observe_all(model, frames[:, :-1])
    assert (model.predict(state) - frames[:, -1]).abs().max() < 1e-4


@torch.no_grad()
def test_where_a_slot_lies_is_measured_anew_so_that_steps_do_not_add_up_to_a_drift(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A camera goes by a third of a pixel more than every step measures."""
    frames = panned([2 * t for t in range(16)])
    measured = velocity_between

    def drifting(frame: Tensor, before: Tensor) -> Tensor:
        found = measured(frame, before)
        return found - torch.tensor([0.33, 0.0]).view(1, 2, 1, 1) if found.abs().mean() > 1 else found

    monkeypatch.setattr(motion, "velocity_between", drifting)
    off = []
    for again in (True, False):
        if not again:
            monkeypatch.setattr(
                motion.MotionPredictor, "_aligned", lambda self, frame, *ways_and_rest: ways_and_rest[:2]
            )
        model = untrained(slots=2)
        state, rules = None, model.rules(policy="first-and-last")
        for frame in frames.unbind(1):
            state = model.observe(frame, state, rules)
        assert state is not None
        # From frame 16 back to frame 1, which followed the first.
        place = state.memory.frame_index[0].tolist().index(0)
        way = affine_field(state.carried["views_ahead"][0, 1 + place], frames.shape[-2:])[0, 8:-8, 40:-8]
        off.append(float((way - 2 * 15).abs().mean()))
    assert off[0] < off[1] / 2


@torch.no_grad()
@pytest.mark.parametrize(
    ("offsets", "share"),
    [
        ([3 * t for t in range(16)], 1),
        ([0, 2] * 8, 0),
        ([0, 0, 3, 3, 6, 6, 9, 9, 12, 12, 15, 15, 18, 18, 21, 21], 1),
    ],
    ids=["on", "to and fro", "every frame twice"],
)
def test_motion_is_trusted_as_far_as_it_went_on_so_far(offsets: list[int], share: int) -> None:
    model, frames = untrained(), panned(offsets)
    torch.nn.init.constant_(model.share[-1].bias, -8)
    state = observe_all(model, frames[:, :13])
    for _ in range(3):
        weights = model._shares(state)[0].mean(dim=(1, 2))
        # Along and as the camera, to the latest frame.
        assert float(weights[0] + weights[6]) == pytest.approx(share, abs=0.15)
        state = model.follow(model.predict(state), state)


@torch.no_grad()
@pytest.mark.parametrize("noise", [0, 1], ids=["equal", "noisy"])
@pytest.mark.parametrize(
    "steps",
    [(2, 2, 2, 0), (2, 0), (2, 0, 4, 2), (2, 0, 4, 2, 2), (2, 0, 0)],
    ids=["a quarter", "half", "skipping one", "after a change of rate", "thrice"],
)
def test_frames_that_repeat_the_one_before_do_not_stop_what_moves(steps: tuple[int, ...], noise: int) -> None:
    offsets = np.cumsum([0, *(steps[(t + 1) % len(steps)] for t in range(17))])
    frames = panned(offsets.tolist())
    frames = frames + noise / 255 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    found = forecast_clip(untrained(), frames, 12)
    inner = (..., slice(8, -8), slice(8, -24))
    error = ((found - frames[:, 12:])[inner] ** 2).mean(dim=(0, 2, 3, 4))
    copied = ((frames[:, 11:12] - frames[:, 12:])[inner] ** 2).mean(dim=(0, 2, 3, 4))
    assert (error <= copied / 10 + 3 * (noise / 255) ** 2 + 1e-6).all()
    repeated = [t for t in range(12, 18) if offsets[t] == offsets[t - 1]]
    shown = torch.cat([frames[:, 11:12], found], dim=1)
    assert repeated
    assert all(torch.allclose(shown[:, t - 11], shown[:, t - 12], atol=1e-5) for t in repeated)


@torch.no_grad()
def test_after_frames_that_were_not_observed_trials_begin_anew() -> None:
    """As training does that gives some videos the truth in place of a prediction."""
    model, frames = untrained(), panned([0, 2] * 8)
    states = [observe_all(model, frames[:, :6])]
    states.append(model.follow(model.predict(states[0]), states[0]))
    before, after = (model.observe(frames[:, 7], state.copy()).carried for state in states)
    assert before["tried"][:, 1, 3:5].abs().mean() > 0.5
    assert not after["tried"][:, 1:, 3:].any()
    torch.testing.assert_close(after["trials"], motion.FADE * states[1].carried["trials"])


@torch.no_grad()
def test_what_a_thing_uncovers_lies_where_the_camera_saw_it() -> None:
    ground, thing = picture(64, 64), picture(16, 16, 1)
    frames = ground.repeat(1, 9, 1, 1, 1)
    for t in range(9):
        frames[:, t, :, 24:40, 4 * t : 4 * t + 16] = thing
    model = untrained(slots=8)
    state = observe_all(model, frames)
    place = state.memory.frame_index[0].tolist().index(0)
    way = affine_field(state.carried["views_ahead"][:, 1 + place], frames.shape[-2:])
    first = sample(frames[:, 0], way)
    # Uncovered since the first frame.
    uncovered = (..., slice(26, 38), slice(18, 34))
    assert (first - ground)[uncovered].abs().max() < 0.05
    assert (frames[:, 5] - ground)[uncovered].abs().max() > 0.2


@torch.no_grad()
def test_slots_are_written_when_it_is_known_what_followed_and_never_by_predictions() -> None:
    model = fill_added(untrained(slots=3))
    frames = panned([0, 3, 6, 9, 12])
    state = observe_all(model, frames[:, :1])
    assert state.memory.frame_index[0].tolist() == [-1, -1, -1]
    state = observe_all(model, frames)
    held = state.memory.frame_index[0].tolist()
    assert sorted(held) == [1, 2, 3]
    for slot, index in enumerate(held):
        kept = state.memory.frame[0, slot].T.view(3, 64, 64)
        assert torch.equal(kept, frames[0, index + 1])
    after = state
    for _ in range(4):
        after = model.follow(model.predict(after), after)
    assert after.memory.frame_index[0].tolist() == held
    assert torch.equal(after.memory.value, state.memory.value)


@torch.no_grad()
def test_what_is_read_from_the_memory_changes_what_is_foreseen() -> None:
    model = fill_added(untrained(), std=1.0)
    model.share[-1].bias.zero_()
    frames = panned([0, 3, 5, 9, 10, 14])
    state = observe_all(model, frames)
    ahead = model.follow(model.predict(state), state)
    other = state.copy()
    other.memory.value.neg_()
    assert not torch.allclose(model.predict(model.follow(model.predict(state), other)), model.predict(ahead))


@torch.no_grad()
def test_the_state_has_one_size_for_three_hundred_frames() -> None:
    model = fill_added(untrained(channels=1, slots=2))
    generator = torch.Generator().manual_seed(0)
    state, sizes = None, set()
    for t in range(300):
        frame = torch.rand((1, 1, 16, 16), generator=generator)
        state = model.observe(frame, state) if t < 150 else model.follow(model.predict(state), state)
        sizes.add(tuple((name, t.shape) for name, t in state.tensors().items()))
    assert len(sizes) == 1
    assert model.predict(state).isfinite().all()
