"""One implementation: a session and the training clip see the same memory and give the same answer."""

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from small_data import frame, labels
from small_models import untrained_lite
from stremn import SegmentationSession
from stremn.data import Clip
from stremn.memory import MemoryLayout, Rules, get_policy
from stremn.models import MODELS, Segmenter, create_model
from stremn.training.segmentation.segment_clip import segment_clip

FRAMES, STEP, SLOTS = 8, 4, 4


@pytest.fixture(scope="module")
def model() -> Segmenter:
    """Random weights, in which masks and memory weigh so much that a wrong slot would show."""
    model = untrained_lite(seed=1, std=0.05)
    with torch.no_grad():
        cast(nn.Conv2d, model.get_submodule("value_encoder.from_quarter")).weight[:, -2:] *= 100
        cast(nn.Conv2d, model.get_submodule("value")).weight *= 20
        nn.init.normal_(cast(nn.Conv2d, model.get_submodule("decoder.predict")).weight, std=0.2)
    return model


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A batch of one: eight frames with two objects."""
    images = np.stack([frame(STEP * t) for t in range(FRAMES)])
    masks = np.stack([labels(STEP * t) for t in range(FRAMES)])
    return Clip(
        torch.from_numpy(images).permute(0, 3, 1, 2).float()[None] / 255,
        torch.from_numpy(masks).long()[None],
        torch.ones((1, 2), dtype=torch.bool),
    )


def logits_of(model: Segmenter, clip: Clip, policy: str) -> Tensor:
    """(T - 1, O, 1, h/4, w/4) by the code of training."""
    rules = Rules(MemoryLayout.of_slots(SLOTS), get_policy(policy))
    return segment_clip(model, clip, rules)[0].unsqueeze(2).detach()


def enlarged(maps: Tensor) -> Tensor:
    return F.interpolate(maps, size=labels(0).shape, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("policy", ["learned", "oldest", "most-similar", "first-and-last"])
@pytest.mark.parametrize("grad", [False, True], ids=["written by slot", "written by mixture"])
def test_same_probabilities_and_labels(policy: str, grad: bool, model: Segmenter, clip: Clip) -> None:
    with torch.set_grad_enabled(grad):
        logits = logits_of(model, clip, policy)
    session = SegmentationSession(
        model,
        policy=policy,
        slots=SLOTS,
        size=0,
        candidate_every=1,
        precision="fp32",
        device="cpu",
        search_region=False,
    )
    session.step(frame(0), masks=labels(0))
    seen = set()
    for t in range(1, FRAMES):
        found = session.step(frame(STEP * t))
        coarse = model.aggregate(logits[t - 1])
        assert np.allclose(found.probabilities, enlarged(coarse)[:, 0].numpy(), atol=1e-3), f"frame {t}"

        objects = model.aggregate(enlarged(logits[t - 1]))[:, 0]
        odds = torch.cat([1 - objects.sum(dim=0, keepdim=True), objects])
        best = odds.topk(2, dim=0).values
        clear = (best[0] - best[1] > 2e-3).numpy()
        assert clear.mean() > 0.9
        assert np.array_equal(found.labels[clear], odds.argmax(dim=0).numpy()[clear]), f"frame {t}"
        seen |= set(np.unique(found.labels).tolist())
    assert seen >= {1, 2}
    assert all(held[:2] == [0, FRAMES - 1] for held in session.frames_in_memory().values())


def test_the_comparison_would_notice_another_policy(model: Segmenter, clip: Clip) -> None:
    with torch.no_grad():
        learned, oldest = (logits_of(model, clip, policy) for policy in ("learned", "oldest"))
    assert (learned - oldest).abs().max() > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_every_model_sees_the_same_given_mask_in_training_and_in_a_session(name: str, clip: Clip) -> None:
    """A mask given at the frame's size reaches the memory encoder as it is, in both (V4)."""
    torch.manual_seed(0)
    model = create_model(name).eval()
    thin = Clip(clip.frames[:, :3], torch.zeros_like(clip.labels[:, :3]), clip.valid[:, :1])
    thin.labels[:, :, 20:40, 31:34] = 1
    with torch.no_grad():
        logits = segment_clip(model, thin, Rules(model.config.layout, get_policy("learned")))[0]
    settings = {"size": 0, "candidate_every": 1, "certainty": 0.0, "precision": "fp32", "device": "cpu"}
    session = SegmentationSession(model, **settings)
    session.step(frame(0), masks=thin.labels[0, 0].numpy())
    for t in (1, 2):
        found = session.step(frame(STEP * t)).probabilities
        expected = enlarged(model.aggregate(logits[t - 1].unsqueeze(1)))[:, 0].numpy()
        assert np.allclose(found, expected, atol=1e-3), f"frame {t}"


def test_sessions_share_a_model_that_is_ready(model: Segmenter) -> None:
    first = SegmentationSession(model, size=64)
    second = SegmentationSession(first.model, size=64)
    assert second.model is first.model
    labels_of = [s.step(frame(0), masks=labels(0)) and s.step(frame(STEP)).labels for s in (first, second)]
    assert np.array_equal(*labels_of)
