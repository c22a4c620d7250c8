"""Gradient through the discrete choice, and the whole step as one graph."""

from collections.abc import Callable

import pytest
import torch
from plain_memory import PREDICTION, VOS, random_template
from torch import Tensor, nn

from stremn.memory import MemoryLayout, SlotMemory, Template, get_policy

WIDTHS = {"key": 3, "value": 5, "update_key": 2, "contender_key": 2}


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


@pytest.mark.parametrize("shared", [True, False], ids=["one update key", "two update keys"])
def test_keeping_projections_is_projecting_what_is_kept_in_value_and_gradient(shared: bool) -> None:
    """Sec. 3.2 and 3.3 as printed: feature maps are kept, mixed by Eq. (4), and projected at every use."""
    slots, steps = 3, 8
    torch.manual_seed(0)
    layers = {name: nn.Conv2d(4, width, 3, padding=1).double() for name, width in WIDTHS.items()}
    asking = layers["update_key" if shared else "contender_key"]
    frames, query = torch.randn(steps, 2, 4, 2, 3).double(), torch.randn(2, 6, 3).double()
    probe = torch.randn(2, 6, 5).double()
    inputs = [frames.requires_grad_(), *(layers[n].weight for n in ("key", "value", "update_key"))]
    inputs += [] if shared else [asking.weight]

    def project(layer: nn.Module, maps: Tensor) -> Tensor:
        return layer(maps).flatten(2).transpose(1, 2)

    def template(maps: Tensor) -> Template:
        named = {name: project(layer, maps) for name, layer in layers.items()}
        own = {} if shared else {"contender_key": named["contender_key"]}
        return Template(named["key"], named["value"], named["update_key"], **own)

    memory = SlotMemory.of_first_frame(template(frames[0]), 0, MemoryLayout(False, False, slots))
    generator = torch.Generator().manual_seed(1)
    for t in range(1, steps):
        memory = memory.update(template(frames[t]), t, get_policy("learned"), noise=True, generator=generator)
    readout = memory.read(query)

    generator.manual_seed(1)
    held: list[list[Tensor]] = [[frames[0, o]] for o in (0, 1)]
    for t in range(1, steps):
        # Noise is drawn for both objects at once, also where a slot is still empty.
        gumbel = -torch.empty(2, slots, dtype=torch.float64).exponential_(generator=generator).log()
        for o in (0, 1):
            new = frames[t, o]
            if len(held[o]) < slots:
                held[o].append(new)
                continue
            scores = []
            for kept in held[o]:
                u, v = project(asking, new[None])[0], project(layers["update_key"], kept[None])[0]
                best = [torch.stack([p @ q / (p.norm() * q.norm()) for q in v]).max() for p in u]
                scores.append(sum(best, torch.zeros(())) / len(best))
            terms = [torch.exp(s + g) for s, g in zip(scores, gumbel[o], strict=True)]
            soft = [term / sum(terms) for term in terms]
            for i, a in enumerate(soft):
                hard = float(a == max(soft)) + a - a.detach()
                held[o][i] = (1 - hard) * held[o][i] + hard * new
    expected = []
    for o in (0, 1):
        key, value = (torch.cat([project(layers[n], x[None])[0] for x in held[o]]) for n in ("key", "value"))
        for k in query[o]:
            weights = torch.stack([torch.exp(k @ other / 3**0.5) for other in key])
            expected.append(weights @ value / weights.sum())
    printed = torch.stack(expected).unflatten(0, (2, 6))

    torch.testing.assert_close(readout, printed, rtol=1e-10, atol=1e-12)
    results = [torch.autograd.grad((x * probe).sum(), inputs) for x in (readout, printed)]
    for one, other in zip(*results, strict=True):
        assert one.abs().max() > 1e-4
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


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
