"""The mean of several checkpoints."""

from pathlib import Path

import pytest
import torch

from stremn.errors import StremnError
from stremn.models import create_model, save_pretrained
from stremn.training import average_models

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
    with pytest.raises(StremnError, match=r"other\.safetensors: of another config .*'convlstm', not"):
        average_models([*paths, other])
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(StremnError, match="must be from 0 to 1"):
            average_models([*paths, *paths], share=share)
    with pytest.raises(StremnError, match="two or more"):
        average_models(paths, share=0.5)
    for changes, message in (
        ({"colour": 1}, "its config has no colour"),
        ({"hidden": (8, 8)}, "its weights do not fit hidden"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"size": "big"}, "size must be a whole number"),
    ):
        with pytest.raises(StremnError, match=message):
            average_models(paths, changes=changes)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, (0, 0.5, 0.5)), (0.4, (0.4, 0.3, 0.3)), (1.0, (1, 0, 0))]
)
def test_the_first_has_its_share(share: float, expected: tuple[float, ...], tmp_path: Path) -> None:
    paths, states = files(tmp_path, 3)
    for name, tensor in average_models(paths, share=share).state_dict().items():
        mean = sum(part * state[name] for part, state in zip(expected, states, strict=True))
        torch.testing.assert_close(tensor, mean)


def test_changed_fields_may_differ_before(tmp_path: Path) -> None:
    """Weights of different certainty are averaged where one certainty is given for the mean."""
    paths = []
    for certainty in (0.0, 0.8):
        torch.manual_seed(0)
        model = create_model("stremn-lite", certainty=certainty)
        paths.append(save_pretrained(model, tmp_path / f"{certainty}.safetensors"))
    with pytest.raises(StremnError, match=r"certainty 0\.8, not 0\.0"):
        average_models(paths)
    mean = average_models(paths, changes={"certainty": 0.5, "size": 432})
    assert (mean.config.certainty, mean.config.size, mean.training) == (0.5, 432, False)
    for name, tensor in mean.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
