"""Laws of writing a slot, Eq. (4), and M4: a projection commutes with the write."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.ops import mix_slots, replace_slots

SEED = st.integers(0, 2**31)
SIZE = st.integers(1, 5)


def _slots(seed: int, objects: int, slots: int, *positions: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    bank = torch.randn(objects, slots, *positions, dtype=torch.float64, generator=generator)
    return bank, torch.randn(objects, *positions, dtype=torch.float64, generator=generator)


@settings(max_examples=40, deadline=None)
@given(SEED, SIZE, SIZE, SIZE, SIZE)
def test_mixing_by_a_one_hot_vector_is_replacing(
    seed: int, objects: int, slots: int, positions: int, channels: int
) -> None:
    bank, template = _slots(seed, objects, slots, positions, channels)
    index = torch.randint(-1, slots, (objects,), generator=torch.Generator().manual_seed(seed))
    one_hot = (torch.arange(slots) == index.unsqueeze(1)).double()
    mixed = mix_slots(bank, template, one_hot)
    untouched = bank.clone()
    replaced = replace_slots(bank, template, index)
    assert torch.equal(mixed, replaced)
    assert replaced is bank
    for o, i in enumerate(index.tolist()):
        for k in range(slots):
            assert torch.equal(bank[o, k], template[o] if k == i else untouched[o, k])


@settings(max_examples=25, deadline=None)
@given(SEED, SIZE, SIZE)
def test_mixing_stays_between_slot_and_template_and_leaves_its_inputs_alone(
    seed: int, objects: int, slots: int
) -> None:
    bank, template = _slots(seed, objects, slots, 3, 2)
    before = bank.clone()
    weights = torch.rand(objects, slots, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    mixed = mix_slots(bank, template, weights)
    torch.testing.assert_close(mixed - bank, weights[:, :, None, None] * (template.unsqueeze(1) - bank))
    assert torch.equal(bank, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_memory_keeps_its_precision_under_wider_weights(dtype: torch.dtype) -> None:
    bank, template = _slots(0, 2, 3, 4, 5)
    mixed = mix_slots(bank.to(dtype), template.float(), torch.full((2, 3), 0.5))
    assert mixed.dtype == dtype


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("hard", [True, False], ids=["one-hot", "soft"])
def test_projecting_commutes_with_mixing_in_value_and_gradient(kernel: int, hard: bool) -> None:
    objects, slots, channels, height, width = 2, 3, 4, 4, 5
    maps, new = _slots(1, objects, slots, channels, height, width)
    torch.manual_seed(1)
    projection = nn.Conv2d(channels, 6, kernel, padding=kernel // 2).double()
    weights = torch.eye(slots, dtype=torch.float64)[[2, 0]] if hard else torch.rand(2, 3).double()
    inputs = [t.requires_grad_() for t in (maps, new, weights)]
    probe = torch.randn(objects, slots, height * width, 6, dtype=torch.float64)

    def project(feature_map: Tensor) -> Tensor:
        """``(…, C, H, W)`` to ``(…, N, C')``."""
        flat = projection(feature_map.reshape(-1, channels, height, width)).flatten(2).transpose(1, 2)
        return flat.reshape(*feature_map.shape[:-3], height * width, -1)

    def mixed_then_projected() -> Tensor:
        rows = [
            torch.stack([(1 - a[i]) * x[i] + a[i] * x_t for i in range(slots)])
            for a, x, x_t in zip(weights, maps, new, strict=True)
        ]
        return project(torch.stack(rows))

    def projected_then_mixed() -> Tensor:
        return mix_slots(project(maps), project(new), weights)

    results = []
    for path in (mixed_then_projected, projected_then_mixed):
        value = path()
        # A curved loss, so that the gradients depend on the values too.
        loss = (F.silu(value) * probe).sum()
        results.append((value, *torch.autograd.grad(loss, [*inputs, *projection.parameters()])))
    for one, other in zip(*results, strict=True):
        assert one.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
