"""The choice is trained by trying every slot; nothing but the update keys changes."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from small_models import untrained_lite
from stremn.data import Clip
from stremn.errors import StremnError
from stremn.memory import MemoryLayout, get_policy
from stremn.models import Segmenter
from stremn.training import SegmentationRecipe, train
from stremn.training.segmentation.choice import ChoiceRecipe, ChoiceTask, slot_costs
from stremn.training.segmentation.segment_clip import SegmentedClip, segment_clip
from stremn.training.task import StepDraw

FRAMES, CHOSEN = 8, 3


@pytest.fixture(scope="module")
def choice(recipe: SegmentationRecipe) -> ChoiceRecipe:
    own = {"task": "choice", "frames": (6,), "chosen": 2, "temperature": 0.05, "ema": 0.0}
    return ChoiceRecipe(**(asdict(recipe) | own))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    return untrained_lite(seed=2, std=0.1)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Two clips of noise, in which a square moves; the second clip has one object of two."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros((2, FRAMES, 64, 64), dtype=torch.long)
    for t in range(FRAMES):
        labels[:, t, 8 : 32 + t, 4 * t : 4 * t + 24] = 1
        labels[0, t, 40:60, 10 : 40 - t] = 2
    frames = torch.rand((2, FRAMES, 3, 64, 64), generator=generator) / 2 + labels.unsqueeze(2) / 4
    return Clip(frames, labels, torch.tensor([[True, True], [True, False]]))


@pytest.fixture(scope="module")
def run(model: Segmenter, clip: Clip) -> SegmentedClip:
    torch.set_num_threads(1)
    with torch.no_grad():
        return segment_clip(model, clip, MemoryLayout(chosen=CHOSEN), get_policy("oldest"), noise=False)


def draw(seed: int) -> StepDraw:
    return StepDraw(0, torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_costs_belong_to_their_slots(model: Segmenter, clip: Clip, run: SegmentedClip) -> None:
    costs = slot_costs(model, clip, run, [1, 2, 3], 4, guide=True)
    assert costs.shape == (4, CHOSEN)
    assert torch.allclose(
        slot_costs(model, clip, run, [3, 1, 2], 4, guide=True), costs[:, [2, 0, 1]], atol=1e-5
    )
    assert len(set(costs[0].tolist())) == CHOSEN


@torch.no_grad()
def test_giving_up_a_twin_of_the_new_template_costs_what_keeping_it_does(
    model: Segmenter, clip: Clip, run: SegmentedClip
) -> None:
    twins = replace(run, templates=[run.templates[4 if t == 2 else t] for t in range(len(run.templates))])
    with_twin = slot_costs(model, clip, twins, [1, 2, 3], 4, guide=True)[:, 1]
    # The memory of slots 1, 3 and the new one, whichever of the twins it is.
    assert torch.allclose(with_twin, slot_costs(model, clip, run, [1, 2, 3], 4, guide=True)[:, 1], atol=1e-6)
    assert not torch.allclose(with_twin, slot_costs(model, clip, twins, [1, 2, 3], 4, guide=True)[:, 0])


def test_the_cheapest_slot_becomes_likelier(choice: ChoiceRecipe, clip: Clip) -> None:
    model = untrained_lite(seed=2, std=0.1)
    task = ChoiceTask(choice, torch.device("cpu"))
    optimizer = torch.optim.Adam(task.parameter_groups(model), lr=0.01)
    losses = []
    for _ in range(12):
        loss = task.loss(model, clip, draw(3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.01, losses


def test_only_the_update_keys_change(choice: ChoiceRecipe, tmp_path: Path) -> None:
    state, before = load_file(train(choice, tmp_path / "run")), load_file(choice.start)
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    assert changed == {"update_key.weight", "update_key.bias"}


def test_too_short_clips_are_refused(choice: ChoiceRecipe) -> None:
    with pytest.raises(StremnError, match=r"'frames' must be at least 'chosen' \+ 4 = 6, not 5"):
        replace(choice, frames=(5,))


@pytest.mark.parametrize(("key", "value"), [("damage_share", 0.1), ("burn_in", 2)])
def test_keys_without_effect_are_refused(choice: ChoiceRecipe, key: str, value: float) -> None:
    with pytest.raises(StremnError, match=f"'{key}' must be 0"):
        replace(choice, **{key: value})
