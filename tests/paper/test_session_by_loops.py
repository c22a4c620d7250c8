"""A whole session of ``stremn-r50`` against the paper told by loops: 14 frames, two objects."""

import copy
import zlib
from typing import Any, cast

import numpy as np
import pytest
import torch
from plain_segmenter import CHOSEN, PlainSegmenter
from torch import Tensor, nn

from small_data import frame, labels
from stremn import SegmentationResult, SegmentationSession
from stremn.models import Segmenter, create_model

SIZE, STEP = (48, 64), 4
TOLERANCE = 2e-4
"""Of a probability; the session computes in float32, and its masks feed it again."""

GAINS = {"memory_encoder.conv1": 5, "memory_value": 3, "predict": 2}
"""On random weights, so that masks and memory show; of the first layer on the channels that see masks."""


def untrained_paper_network(*, skip: bool) -> Segmenter:
    """Random weights, those of the norms too; a layer's do not depend on which others there are."""
    model = create_model("stremn-r50", skip=skip, scale=None).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            if weight.dim() == 4:
                weight.normal_(std=(2 / weight[0].numel()) ** 0.5, generator=generator)
            elif name.endswith("weight"):
                weight.uniform_(0.5, 1.5, generator=generator)
            else:
                weight.normal_(std=0.1, generator=generator)
        weights = {name: cast(nn.Conv2d, model.get_submodule(name)).weight for name in GAINS}
        for name, gain in GAINS.items():
            weights[name][:, -2 if "encoder" in name else 0 :] *= gain
    return model


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> Segmenter:
    return untrained_paper_network(skip=request.param)


PAPER = pytest.mark.parametrize("model", [False], indirect=True, ids=["no skips"])
BOTH = pytest.mark.parametrize("model", [False, True], indirect=True, ids=["no skips", "skips"])


def session(model: Segmenter, policy: str) -> SegmentationSession:
    """The paper's settings, whatever the defaults."""
    settings: dict[str, Any] = {
        "slots": 2 + CHOSEN,
        "candidate_every": 1,
        "certainty": 0.0,
        "postprocess": False,
    }
    return SegmentationSession(
        model, policy=policy, size=0, precision="fp32", device="cpu", sample=False, **settings
    )


def float_frame(t: int) -> Tensor:
    return torch.from_numpy(frame(STEP * t, *SIZE)).double() / 255


def assert_same_frame(found: SegmentationResult, masks: list[Tensor], scores: list[Tensor]) -> None:
    np.testing.assert_allclose(found.probabilities, torch.stack(masks).numpy(), rtol=0, atol=TOLERANCE)
    odds = torch.stack(scores).numpy()
    second, best = np.sort(odds, axis=0)[-2:]
    clear = best - second > 2 * TOLERANCE
    assert clear.mean() > 0.95
    assert np.array_equal(found.labels[clear], odds.argmax(axis=0)[clear])


@BOTH
def test_same_probabilities_labels_and_frames_held(model: Segmenter) -> None:
    length = 3 if model.config.skip else 14
    ours, paper = session(model, "learned"), PlainSegmenter(model.state_dict())
    given = labels(0, *SIZE)
    ours.step(frame(0, *SIZE), masks=given)
    paper.start(float_frame(0), [torch.from_numpy(given == i).double() for i in (1, 2)])
    for t in range(1, length):
        found = ours.step(frame(STEP * t, *SIZE))
        assert_same_frame(found, *paper.step(float_frame(t)))
        assert list(ours.frames_in_memory().values()) == [thing.frames() for thing in paper.objects]
    assert abs(np.subtract(*found.probabilities)).max() > 100 * TOLERANCE
    if length > 2 + CHOSEN:
        assert len({tuple(thing.replaced) for thing in paper.objects}) == 2, "each object makes its choices"


@PAPER
def test_the_comparison_would_notice_another_choice(model: Segmenter) -> None:
    sessions = [session(model, policy) for policy in ("learned", "oldest")]
    for follower in sessions:
        follower.step(frame(0, *SIZE), masks=labels(0, *SIZE))
    for t in range(1, 9):
        one, other = (follower.step(frame(STEP * t, *SIZE)).probabilities for follower in sessions)
    assert sessions[0].frames_in_memory() != sessions[1].frames_in_memory()
    assert abs(one - other).max() > 100 * TOLERANCE


@PAPER
def test_aspp_on_a_map_that_all_of_its_rates_reach(model: Segmenter) -> None:
    # The small frames above give a map that is smaller than the dilations.
    coarse = torch.randn(1, 1024, 20, 22, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        found = copy.deepcopy(model.get_submodule("aspp")).double()(coarse)
    torch.testing.assert_close(found, PlainSegmenter(model.state_dict()).aspp(coarse))
