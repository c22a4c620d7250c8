"""Checkpoints are complete or not there."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy_task import toy

from stremn.errors import StremnError
from stremn.training.plan import create_optimizer, set_rates
from stremn.training.run import Checkpoints, RunState, load_optimizer, load_state, save_state


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path) -> None:
    (folder / "weights").write_text(folder.name)


@settings(deadline=None, max_examples=30)
@given(steps=st.lists(st.integers(1, 10**7), min_size=1, max_size=6, unique=True), keep=st.integers(1, 3))
def test_the_latest_stay(steps: list[int], keep: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    checkpoints = Checkpoints(tmp_path_factory.mktemp("run") / "checkpoints", keep)
    assert checkpoints.all() == []
    for step in sorted(steps):
        assert checkpoints.write(step, fill) == checkpoints.all()[-1]
    kept = [int(path.name.removeprefix("step-")) for path in checkpoints.all()]
    assert kept == sorted(steps)[-keep:]
    assert len(names(checkpoints.folder)) == len(kept)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    checkpoints.write(1, fill)

    def fails(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(2, fails)
    assert names(checkpoints.folder) == ["step-000001"]


def test_what_a_killed_process_left(tmp_path: Path) -> None:
    """Half a checkpoint, and one that was being removed, are never taken for one."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    for name in (".step-000007.part", ".step-000003.old"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert checkpoints.all() == []
    checkpoints.write(8, fill)
    assert names(checkpoints.folder) == ["step-000008"]


def test_the_same_step_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", 1)
    checkpoints.write(5, lambda folder: (folder / "old").touch())
    checkpoints.write(5, fill)
    assert names(tmp_path / "checkpoints" / "step-000005") == ["weights"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(StremnError, match=r"cannot write .*step-000001"):
        Checkpoints(tmp_path / "checkpoints", 1).write(1, fill)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_state_and_optimizer(name: str, tmp_path: Path) -> None:
    def trained(steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.01}]
        optimizer = create_optimizer(groups, toy(optimizer=name))
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.ones(1, 2, 5, 5)).square().sum().backward()
            set_rates(optimizer, 0.5)
            optimizer.step()
        return model, optimizer

    state = RunState(step=3, processes=2, seconds=1.5, loss_sum=0.1 + 0.2, loss_count=3, best_score=1 / 3)
    _, before = trained(3)
    save_state(tmp_path, state, before)
    assert load_state(tmp_path) == state
    model, after = trained(0)
    load_optimizer(tmp_path, after)
    for one, other in zip(before.state.values(), after.state.values(), strict=True):
        assert one.keys() == other.keys()
        for entry, tensor in one.items():
            assert torch.equal(tensor, other[entry])
            assert tensor.stride() == other[entry].stride()
    assert after.state[model.weight]["exp_avg"].is_contiguous(memory_format=torch.channels_last)
