"""``stremn-r50`` as the paper prints it, its variants as keys of the config, and what older files mean."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from small_data import frame, labels
from stremn import SegmentationSession
from stremn.data import Clip
from stremn.errors import StremnError
from stremn.memory import FUSIONS, NO_FUSION, Contest, Rules, get_policy
from stremn.models import Segmenter, SegmenterConfig, create_model
from stremn.models.registry import config_from_json
from stremn.training.segmentation.segment_clip import segment_clip

FRAMES = 7
SETTINGS: dict[str, Any] = {"size": 0, "precision": "fp32", "device": "cpu", "slots": 4}


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Frames with two objects that move."""
    images = np.stack([frame(4 * t) for t in range(FRAMES)])
    masks = np.stack([labels(4 * t) for t in range(FRAMES)])
    return Clip(
        torch.from_numpy(images).permute(0, 3, 1, 2).float()[None] / 255,
        torch.from_numpy(masks).long()[None],
        torch.ones((1, 2), dtype=torch.bool),
    )


def small_r50(**changes: Any) -> Segmenter:
    torch.manual_seed(0)
    narrow = {"key_dim": 8, "value_dim": 16, "update_dim": 8}
    model: Segmenter = create_model("stremn-r50", **narrow | changes).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.ones_(module.weight)
    return model


def test_the_defaults_are_what_the_paper_prints() -> None:
    config = create_model("stremn-r50").config
    assert (config.slots, config.key_dim, config.value_dim, config.tau) == (6, 128, 512, 1.0)
    # Sec. 4.1.1 and Fig. 6: every frame competes; Sec. 3.2: two layers of update keys, no fusion; Sec. 3.3.
    assert config.candidate_every == 1
    assert not config.shared_update_key
    assert not config.skip
    assert config.fusion == NO_FUSION
    assert config.certainty == 0


def test_a_contender_asks_by_a_layer_of_its_own() -> None:
    """The choice depends on what contenders ask by, and on what stored templates are compared by."""
    model, session_frames = small_r50(), [frame(4 * t) for t in range(FRAMES + 4)]

    def held() -> list[int]:
        session = SegmentationSession(model, **SETTINGS)
        session.step(session_frames[0], masks=labels(0))
        for shown in session_frames[1:]:
            session.step(shown)
        return session.frames_in_memory()[1]

    def changes_with(layer: torch.nn.Module, seed: int) -> bool:
        kept = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
        torch.manual_seed(seed)
        layer.reset_parameters()  # type: ignore[operator]
        found = held()
        layer.load_state_dict(kept)
        return found != before

    before = held()
    for name in ("contender_key", "update_key"):
        assert any(changes_with(model.get_submodule(name), seed) for seed in range(6)), name
    assert held() == before


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_equals_the_session_with_and_without_fusion(fusion: str, clip: Clip) -> None:
    model = small_r50(fusion="all-others")
    session = SegmentationSession(model, fusion=fusion, **SETTINGS)
    with torch.no_grad():
        logits = segment_clip(model, clip, Rules(session.rules.layout, get_policy("learned"), fusion=fusion))
    session.step(frame(0), masks=labels(0))
    for t in range(1, FRAMES):
        found = session.step(frame(4 * t)).probabilities
        coarse = model.aggregate(logits[0, t - 1].unsqueeze(1))
        expected = torch.nn.functional.interpolate(coarse, labels(0).shape, mode="bilinear")[:, 0].numpy()
        assert np.allclose(found, expected, atol=1e-3), f"frame {t}"


def test_fusion_changes_what_is_predicted_and_can_be_removed(clip: Clip) -> None:
    model = small_r50(fusion="least-similar")
    layout = SegmentationSession(model, **SETTINGS).rules.layout
    with torch.no_grad():
        found = {
            name: segment_clip(model, clip, Rules(layout, get_policy("learned"), fusion=name))
            for name in FUSIONS
        }
    assert (found["least-similar"] - found[NO_FUSION]).abs().max() > 1e-4
    assert SegmentationSession(model, fusion=NO_FUSION, **SETTINGS).rules.fusion == NO_FUSION
    assert SegmentationSession(model, **SETTINGS).rules.fusion == "least-similar"


def test_gradients_reach_the_fusion_networks(clip: Clip) -> None:
    model = small_r50(fusion="least-similar").train()
    layout = SegmentationSession(model, **SETTINGS).rules.layout
    rules = Rules(layout, get_policy("learned"), noise=True, tau=0.5, fusion="least-similar")
    segment_clip(model, clip, rules).square().sum().backward()
    for name, parameter in model.get_submodule("fusion").named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_temperature_changes_gradients_and_not_the_drawn_choice() -> None:
    scores = torch.tensor([[0.9, 0.5, 0.1]], requires_grad=True)
    seen = {}
    for tau in (0.5, 2.0):
        contest = Contest(
            torch.tensor([[1, 2, 3]]),
            torch.tensor([4]),
            scores,
            noise=True,
            tau=tau,
            generator=torch.Generator().manual_seed(0),
        )
        weights = get_policy("learned").choose(contest)
        (gradient,) = torch.autograd.grad((weights * torch.tensor([1.0, 2.0, 3.0])).sum(), scores)
        seen[tau] = (weights.detach().tolist(), gradient.tolist())
    assert seen[0.5][0] == seen[2.0][0]
    assert seen[0.5][1] != seen[2.0][1]


@pytest.mark.parametrize("changes", [{"fusion": "least-similar"}, {"shared_update_key": False}])
def test_what_a_model_would_ignore_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(StremnError, match="architecture 'lite' has"):
        create_model("stremn-lite", **changes)


@pytest.mark.parametrize(
    "changes", [{"tau": 0}, {"tau": "1"}, {"tau": float("nan")}, {"fusion": "some"}, {"shared_update_key": 1}]
)
def test_a_config_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    (name,) = changes
    with pytest.raises(StremnError, match=f"invalid model config: {name}"):
        SegmenterConfig(architecture="stm", **changes)


def test_a_session_needs_a_trained_fusion() -> None:
    with pytest.raises(StremnError, match="trained with a fusion module"):
        SegmentationSession(small_r50(), fusion="least-similar", **SETTINGS)
    with pytest.raises(StremnError, match="fusion must be one of"):
        SegmentationSession(small_r50(), fusion="x", **SETTINGS)


def test_a_file_of_the_first_version_has_one_layer_and_is_the_same_model() -> None:
    later = ("tau", "shared_update_key", "fusion")
    shared = create_model("stremn-r50", shared_update_key=True).config
    first = {name: value for name, value in json.loads(shared.to_json()).items() if name not in later}
    found = config_from_json(json.dumps(first))
    assert found == shared
    assert found.fingerprint == shared.fingerprint
    assert create_model("stremn-r50").config.fingerprint != shared.fingerprint
