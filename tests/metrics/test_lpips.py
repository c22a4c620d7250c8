"""LPIPS with a backbone of random weights in a file."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from stremn.errors import StremnError
from stremn.metrics.prediction.frames import Lpips
from stremn.metrics.prediction.scores import PredictionScorer

torchvision = pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    state = torchvision.models.alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    return path


def frames(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(seed))


def by_hand(features: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Zhang et al., Eq. (1): weighted squared distances of unit-length features, averaged over positions."""
    import torchmetrics.functional.image.lpips as module

    linear = torch.load(Path(module.__file__).parent / "lpips_models" / "alex.pth", "cpu", weights_only=True)
    shift, scale = (
        torch.tensor(v).reshape(1, 3, 1, 1) for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450])
    )
    maps, total = [((2 * f - 1) - shift) / scale for f in (x, y)], torch.zeros(len(x))
    layer = 0
    for step in features:
        maps = [step(m) for m in maps]
        if isinstance(step, torch.nn.ReLU):
            a, b = (F.normalize(m, dim=1, eps=1e-8) for m in maps)
            total += F.conv2d((a - b) ** 2, linear[f"lin{layer}.model.1.weight"]).mean(dim=(1, 2, 3))
            layer += 1
    return total


def test_agrees_with_the_definition(weights: Path) -> None:
    features = torchvision.models.alexnet(weights=None).features
    features.load_state_dict({n.removeprefix("features."): v for n, v in torch.load(weights).items()})
    x, y = frames(0), frames(1)
    with torch.no_grad():
        expected = by_hand(features, x, y)
    found = Lpips(weights)(x, y)
    assert found.shape == (2,)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_equal_frames_grey_and_scaling(weights: Path) -> None:
    lpips = Lpips(weights)
    grey, other = frames(2, 1), frames(3, 1)
    assert lpips(grey, grey).abs().max() == 0
    torch.testing.assert_close(
        lpips(grey, other), lpips(grey.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
    )
    assert not torch.allclose(lpips(grey, other), lpips(grey, other, scaled=False), rtol=0.01)


def test_safetensors_too(weights: Path, tmp_path: Path) -> None:
    save_file(torch.load(weights), tmp_path / "alexnet.safetensors")
    x, y = frames(0), frames(1)
    assert torch.equal(Lpips(tmp_path / "alexnet.safetensors")(x, y), Lpips(weights)(x, y))


def test_scorer_reports_both(weights: Path) -> None:
    scorer = PredictionScorer(lpips=Lpips(weights), conventions=["predrnn"])
    scorer.add(frames(4)[None], frames(5)[None])
    scores = scorer.result()
    assert scores.horizon == 2
    assert scores.curves["lpips"] == pytest.approx(Lpips(weights)(frames(4), frames(5)).tolist(), rel=1e-5)
    assert scores["lpips_predrnn"] != pytest.approx(scores["lpips"], rel=0.01)


def test_bad_files(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"none\.pth: cannot be read"):
        Lpips(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(StremnError, match=r"text\.pth: cannot be read"):
        Lpips(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(StremnError, match="no weights by name"):
        Lpips(tmp_path / "list.pth")
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(StremnError, match=r"other\.pth: not the weights of torchvision's AlexNet"):
        Lpips(tmp_path / "other.pth")
    with pytest.raises(StremnError, match="too small for LPIPS"):
        Lpips(weights)(frames(0)[..., :30], frames(1)[..., :30])


def test_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("torchmetrics")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("torchmetrics", "torchmetrics.functional.image", "torchmetrics.functional.image.lpips"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(StremnError, match=r"install it with pip install 'stremn\[metrics\]'"):
        Lpips("alexnet.pth")
    with pytest.raises(StremnError, match="SSIM needs torchmetrics"):
        PredictionScorer().add(torch.zeros(1, 1, 1, 16, 16), torch.zeros(1, 1, 1, 16, 16))
