"""The mean of several checkpoints."""

from pathlib import Path

import pytest
import torch

from stremn.errors import StremnError
from stremn.models import create_model, save_pretrained
from stremn.training.best import average_models

SMALL = {"hidden": (4, 4)}


def files(folder: Path, count: int) -> tuple[list[Path], list[dict[str, torch.Tensor]]]:
    paths, states = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        model = create_model("predrnn-small", **SMALL)
        states.append(model.state_dict())
        paths.append(save_pretrained(model, folder / f"{seed}.safetensors"))
    return paths, states


def test_every_weight_is_the_mean(tmp_path: Path) -> None:
    paths, states = files(tmp_path, 3)
    model = average_models(paths)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([state[name] for state in states]).mean(dim=0))
    assert not torch.equal(model.cells[0].fuse.weight, states[0]["cells.0.fuse.weight"])


def test_the_mean_of_one_and_of_copies_is_itself(tmp_path: Path) -> None:
    paths, states = files(tmp_path, 1)
    for chosen in (paths, paths * 3):
        model = average_models(chosen)
        assert all(torch.equal(t, states[0][n]) for n, t in model.state_dict().items())


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    paths, _ = files(tmp_path, 1)
    other = save_pretrained(create_model("convlstm-small", **SMALL), tmp_path / "other.safetensors")
    with pytest.raises(StremnError, match="at least one"):
        average_models([])
    with pytest.raises(StremnError, match=r"other\.safetensors: of another config"):
        average_models([*paths, other])
