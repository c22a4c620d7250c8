"""A whole step is one program of torch.compile(fullgraph=True), made once for a number of objects."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.models import MODELS, create_model
from stremn.sessions import SegmentationSession

Boxes = Callable[..., np.ndarray]


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("name", MODELS)
def test_a_compiled_step_equals_the_eager_one_and_is_compiled_once(
    name: str, video: list[np.ndarray], boxes: Boxes
) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = create_model(name)
    settings = {"size": 0, "slots": 4, "device": "cpu", "precision": "fp32", "candidate_every": 1}
    eager = SegmentationSession(model, **settings)
    compiled = SegmentationSession(model, compile="aot_eager", **settings)
    counts = [graphs()]
    for t in range(7):
        a, b = (s.step(video[t], boxes(1, 2) if t == 0 else None) for s in (eager, compiled))
        counts.append(graphs())
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-4)
        assert compiled.frames_in_memory() == eager.frames_in_memory()
    start = counts[0]
    # The frame with masks runs as it is, the next makes the program, and no later one makes another.
    assert [count - start for count in counts] == [0, 0, 1, 1, 1, 1, 1, 1]
    # Nor does another video with as many objects.
    compiled.reset()
    for same in (compiled, SegmentationSession(model, compile="aot_eager", **settings)):
        for t in range(3):
            result = same.step(video[10 + t], boxes(77, 5) if t == 1 else None)
        assert result.object_ids == (5, 77)
    assert graphs() == start + 1


@pytest.mark.parametrize("policy", [n for n, p in POLICIES.items() if p.draws or not p.bounded])
def test_a_policy_that_cannot_be_compiled_says_so(policy: str) -> None:
    with pytest.raises(StremnError, match=f"'{policy}' cannot be compiled") as caught:
        SegmentationSession("stremn-lite", policy=policy, device="cpu", compile=True)
    assert "\n" not in str(caught.value)
