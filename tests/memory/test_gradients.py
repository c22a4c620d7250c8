"""Gradient through the discrete choice, and the whole step as one graph."""

from collections.abc import Callable

import pytest
import torch
from plain_memory import PREDICTION, VOS, random_template
from torch import Tensor, nn

from stremn.memory import MemoryLayout, SlotMemory, Template, get_policy
from stremn.ops import gumbel_softmax, sample_gumbel, update_similarity


class _Projections(nn.Module):
    """A feature map to a template, as models make it."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value, self.update_key = (nn.Conv2d(4, c, 3, padding=1) for c in (3, 5, 2))

    def forward(self, features: Tensor) -> Template:
        maps = (conv(features) for conv in (self.key, self.value, self.update_key))
        return Template(*(x.flatten(2).transpose(1, 2) for x in maps))


def _loss_after(
    steps: int, layout: MemoryLayout, policy: str, noise: bool = True
) -> tuple[Tensor, _Projections]:
    torch.manual_seed(0)
    projections = _Projections()
    frames = torch.randn(steps, 2, 4, 3, 3)
    memory = SlotMemory.of_first_frame(projections(frames[0]), 0, layout)
    generator = torch.Generator().manual_seed(1)
    for t in range(1, steps):
        memory = memory.update(
            projections(frames[t]), t, get_policy(policy), noise=noise, generator=generator
        )
    readout = memory.read(projections(torch.randn(2, 4, 3, 3)).key)
    return (readout * torch.randn_like(readout)).sum(), projections


@pytest.mark.parametrize(("layout", "full_at"), [(MemoryLayout(chosen=2), 5), (PREDICTION, 6)])
def test_gradient_reaches_the_update_key_only_where_there_is_a_contest(
    layout: MemoryLayout, full_at: int
) -> None:
    for steps in range(2, full_at + 3):
        loss, projections = _loss_after(steps, layout, "learned")
        loss.backward()
        gradient = projections.update_key.weight.grad
        if steps < full_at:
            assert gradient is None or not gradient.any(), steps
        else:
            assert gradient is not None
            assert gradient.isfinite().all()
            assert gradient.abs().max() > 1e-4, steps
        for other in (projections.key, projections.value):
            assert other.weight.grad is not None
            assert other.weight.grad.isfinite().all()
            assert other.weight.grad.any()


@pytest.mark.parametrize(("policy", "noise"), [("oldest", True), ("most-similar", True), ("learned", False)])
def test_a_choice_without_noise_or_learning_gives_the_update_key_no_gradient(
    policy: str, noise: bool
) -> None:
    loss, projections = _loss_after(8, MemoryLayout(chosen=2), policy, noise)
    loss.backward()
    assert projections.update_key.weight.grad is None or not projections.update_key.weight.grad.any()


def test_the_gradient_of_the_choice_is_that_of_the_soft_mixture() -> None:
    """One contest, C = 2: the slots after it are linear in the weights, so Eq. (3) gives the gradient."""
    generator = torch.Generator().manual_seed(0)
    layout = MemoryLayout(False, False, 2)
    first, second, third = (random_template(generator, 1) for _ in range(3))
    assert third.contender_key is not None
    asking = third.contender_key.requires_grad_()
    memory = SlotMemory.of_first_frame(first, 0, layout).update(second, 1, get_policy("learned"))
    noise = torch.Generator().manual_seed(4)
    after = memory.update(third, 2, get_policy("learned"), noise=True, generator=noise)
    probe = torch.randn(after.value.shape, generator=generator, dtype=torch.float64)
    (through,) = torch.autograd.grad((after.value * probe).sum(), asking)

    scores = update_similarity(asking, memory.update_key)
    soft = gumbel_softmax(scores, sample_gumbel(scores, torch.Generator().manual_seed(4)))
    old = torch.stack([first.value, second.value], dim=1)
    mixed = (1 - soft)[:, :, None, None] * old + soft[:, :, None, None] * third.value.unsqueeze(1)
    (expected,) = torch.autograd.grad((mixed * probe).sum(), asking)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(through, expected)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_whole_step_compiles_once_without_a_graph_break(mode: str) -> None:
    """Update by the learned policy, then read; one graph serves every frame."""
    torch.compiler.reset()
    policy = get_policy("learned")

    def step(
        memory: SlotMemory, template: Template, frame: Tensor, query: Tensor
    ) -> tuple[SlotMemory, Tensor]:
        memory = memory.update(template, frame, policy, noise=mode == "training")
        return memory, memory.read(query)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")

    def eight_frames(run: Callable[..., tuple[SlotMemory, Tensor]]) -> tuple[SlotMemory, list[Tensor]]:
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        memory = SlotMemory.of_first_frame(random_template(generator, 2), 0, VOS)
        readouts = []
        for frame in range(1, 9):
            template, query = random_template(generator, 2), random_template(generator, 2).key
            with torch._dynamo.config.patch(error_on_recompile=frame > 1):
                memory, readout = run(memory, template, torch.tensor(frame), query)
            readouts.append(readout)
        return memory, readouts

    with torch.enable_grad() if mode == "training" else torch.no_grad():
        (eager, eager_reads), (graph, graph_reads) = eight_frames(step), eight_frames(compiled)
    assert graph.frame_index.tolist() == eager.frame_index.tolist()
    torch.testing.assert_close(graph.tensors(), eager.tensors())
    torch.testing.assert_close(graph_reads, eager_reads)
