"""Templates that are made of what was read."""

from dataclasses import replace

import pytest
import torch

from stremn.errors import StremnError
from stremn.memory import MemoryLayout, SlotMemory, Template
from stremn.memory.policies import get_policy
from stremn.models import create_model
from stremn.models.recurrence import FAR_VALUE, Recurrence, Step

GRID = (6, 8)
WIDTH, KEY, VALUE = 16, 8, 12


def recurrence() -> Recurrence:
    torch.manual_seed(0)
    return Recurrence(WIDTH, KEY, VALUE).eval()


def seen(seed: int) -> torch.Tensor:
    return torch.randn((1, WIDTH, *GRID), generator=torch.Generator().manual_seed(seed))


def written(step: Step, index: int, memory: SlotMemory | None) -> SlotMemory:
    flat = [t.flatten(2).transpose(1, 2) for t in (step.key, step.value, step.key)]
    if memory is None:
        return SlotMemory.of_first_frame(Template(*flat), index, MemoryLayout(False, False, 3))
    return memory.update(Template(*flat), index, get_policy("oldest"))


def watched(model: Recurrence, frames: list[torch.Tensor], start: int = 0) -> tuple[Step, SlotMemory]:
    memory = None
    for number, frame in enumerate(frames, start):
        step = model(frame, torch.tensor([number]), memory)
        memory = written(step, number, memory)
    assert memory is not None
    return step, memory


@torch.no_grad()
def test_the_near_read_starts_at_its_own_place_in_the_newest_template() -> None:
    model = recurrence()
    last, memory = watched(model, [seen(0), seen(1), seen(2)])
    # Without what the keys see only place and frame are left.
    torch.nn.init.zeros_(model.key.weight)
    memory = replace(memory, key=torch.zeros_like(memory.key))
    readout = model(seen(3), torch.tensor([3]), memory).readout
    newest, noise = last.state, torch.stack([seen(i)[:, :VALUE] for i in range(4, 9)]).std()
    assert (readout - newest).abs().mean() < 0.1 * newest.std() < noise


@torch.no_grad()
def test_the_far_read_tells_how_far_away_and_how_long_ago() -> None:
    model = recurrence()
    model.sharpness.fill_(4.0)  # nothing but what looks alike
    model.far_reach.zero_()
    first = seen(0)
    _, memory = watched(model, [first])
    moved = torch.roll(first, (1, -2), dims=(2, 3))
    key, far_key, _ = model._project(moved)
    _, found = model._read(key, far_key, torch.tensor([5]), memory, GRID)
    inner = found[0, FAR_VALUE:, 1:, : GRID[1] - 2]
    # One row up and two columns to the right of the reader, five frames ago, in quarters.
    expected = torch.tensor([-1.0, 2.0, -5.0]).view(3, 1, 1).expand_as(inner) / 4
    torch.testing.assert_close(inner, expected, atol=0.05, rtol=0)


@torch.no_grad()
def test_only_the_distance_between_frames_counts_not_their_index() -> None:
    model, frames = recurrence(), [seen(i) for i in range(5)]
    young, old = (watched(model, frames, start)[0] for start in (0, 3_000_000))
    for name in ("state", "readout"):
        torch.testing.assert_close(getattr(young, name), getattr(old, name))


@torch.no_grad()
def test_the_gate_keeps_what_was_read_or_forgets_it() -> None:
    model = recurrence()
    torch.nn.init.zeros_(model.gate.weight)
    _, memory = watched(model, [seen(0)])
    model.gate.bias.fill_(30.0)
    step = model(seen(1), torch.tensor([1]), memory)
    torch.testing.assert_close(step.state, step.readout)
    model.gate.bias.fill_(-30.0)
    forgetful = model(seen(1), torch.tensor([1]), memory)
    assert (forgetful.state - step.readout).abs().mean() > 0.05


def test_what_was_read_long_ago_has_a_gradient() -> None:
    model, first = recurrence(), seen(0).requires_grad_()
    step, _ = watched(model, [first, seen(1), seen(2), seen(3), seen(4)])
    # Five frames and three slots that the oldest leaves first: the first template itself is gone.
    step.state.sum().backward()
    assert first.grad is not None
    assert first.grad.abs().max() > 0


def test_only_distances_can_hold_places() -> None:
    with pytest.raises(StremnError, match="recurrent needs similarity 'l2'"):
        create_model("stremn-predict", recurrent=True)
