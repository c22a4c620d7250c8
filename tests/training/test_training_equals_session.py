"""One implementation: a session and the training clip see the same memory and give the same answer."""

import numpy as np
import pytest
import torch

from small_data import frame, labels
from stremn import SegmentationSession, create_model
from stremn.data import Clip
from stremn.memory import MemoryLayout, get_policy
from stremn.training.clip import segment_clip

FRAMES = 8


@pytest.fixture(scope="module")
def clip() -> Clip:
    """A batch of one: eight frames with two objects."""
    images = np.stack([frame(4 * t) for t in range(FRAMES)])
    return Clip(
        torch.from_numpy(images).permute(0, 3, 1, 2).float()[None] / 255,
        torch.from_numpy(np.stack([labels(4 * t) for t in range(FRAMES)])).long()[None],
        torch.ones((1, 2), dtype=torch.bool),
    )


@pytest.mark.parametrize("policy", ["learned", "oldest", "most-similar", "first-and-last"])
@pytest.mark.parametrize("grad", [False, True], ids=["written by slot", "written by mixture"])
def test_same_probabilities_and_labels(policy: str, grad: bool, clip: Clip) -> None:
    torch.manual_seed(1)
    model = create_model("stremn-lite").eval()
    # Random logits hardly leave 0: spread them, so that objects win somewhere and feed back.
    torch.nn.init.normal_(model.get_submodule("decoder.predict").weight, std=0.5)  # type: ignore[arg-type]
    layout = MemoryLayout.of_slots(4)
    with torch.set_grad_enabled(grad):
        logits = segment_clip(model, clip, layout, get_policy(policy), noise=False)[0].detach()
    session = SegmentationSession(
        model, policy=policy, slots=4, size=0, candidate_every=1, precision="fp32", device="cpu"
    )
    found = [session.step(frame(4 * t), masks=labels(0) if t == 0 else None).labels for t in range(FRAMES)]
    owner = torch.zeros(2, dtype=torch.long)
    seen = set()
    for t in range(1, FRAMES):
        fine = torch.nn.functional.interpolate(
            logits[t - 1].unsqueeze(1), size=labels(0).shape, mode="bilinear", align_corners=False
        )
        objects = model.aggregate(fine, owner, 1)[:, 0]
        odds = torch.cat([1 - objects.sum(dim=0, keepdim=True), objects])
        winner = odds.argmax(dim=0).numpy()
        best = odds.topk(2, dim=0).values
        clear = (best[0] - best[1] > 1e-4).numpy()
        assert clear.mean() > 0.8
        assert np.array_equal(found[t][clear], winner[clear]), f"frame {t}"
        seen |= set(np.unique(found[t]).tolist())
    assert len(seen) >= 2
    held = session.frames_in_memory()
    assert all(slots[0] == 0 and slots[1] == FRAMES - 1 for slots in held.values())


def test_same_probabilities_step_by_step(clip: Clip) -> None:
    torch.manual_seed(1)
    model = create_model("stremn-lite").eval()
    with torch.no_grad():
        logits = segment_clip(model, clip, MemoryLayout(), get_policy("learned"), noise=False)[0]
    session = SegmentationSession(model, size=0, candidate_every=1, precision="fp32", device="cpu")
    session.step(frame(0), masks=labels(0))
    for t in range(1, FRAMES):
        result = session.step(frame(4 * t))
        coarse = model.aggregate(logits[t - 1].unsqueeze(1), torch.zeros(2, dtype=torch.long), 1)
        fine = torch.nn.functional.interpolate(
            coarse, size=labels(0).shape, mode="bilinear", align_corners=False
        )
        assert np.allclose(result.probabilities, fine[:, 0].numpy(), atol=2e-4)
