"""Eq. (6)-(12), as the supplement corrects them, told again position by position."""

import math

import torch
from torch import Tensor

from stremn.ops import align, fuse

POSITIONS, WIDTH = 4, 3


def _drawn(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _aligned(reference: Tensor, other: Tensor) -> Tensor:
    """FAM, Eq. (7), of one object: every row a softmax over the positions of the other."""
    rows = []
    for row in reference:
        scores = [math.exp(float(row @ place)) for place in other]
        rows.append(sum(s / sum(scores) * place for s, place in zip(scores, other, strict=True)))
    return torch.stack(rows)


def test_fusion_equals_the_equations_by_loops() -> None:
    deleted, target, f, h, g = _drawn(*2 * ((2, POSITIONS, WIDTH),), *3 * ((WIDTH, 2 * WIDTH),))
    found = fuse(deleted, target, lambda x: x @ f.T, lambda x: x @ h.T, lambda x: x @ g.T)
    for obj in range(2):
        xi, xj = deleted[obj], target[obj]
        filtered = torch.zeros_like(xi)
        aligned = _aligned(xi, xj)
        for p in range(POSITIONS):
            for c in range(WIDTH):
                r = 1 / (1 + math.exp(-float(f[c] @ torch.cat([xi[p], aligned[p]]))))
                filtered[p, c] = r * xi[p, c]
        back = _aligned(xj, filtered)
        for p in range(POSITIONS):
            both = torch.cat([back[p], xj[p]])
            for c in range(WIDTH):
                z = 1 / (1 + math.exp(-float(h[c] @ both)))
                expected = (1 - z) * float(xj[p, c]) + z * math.tanh(float(g[c] @ both))
                assert abs(float(found[obj, p, c]) - expected) < 1e-12


def test_a_closed_gate_leaves_the_target_as_it_was() -> None:
    deleted, target = _drawn(*2 * ((2, POSITIONS, WIDTH),))
    nothing = fuse(deleted, target, *3 * (lambda x: torch.full_like(x[..., :WIDTH], -800.0),))
    assert torch.equal(nothing, target)


def test_where_the_other_lies_does_not_matter() -> None:
    reference, other = _drawn((1, 3, WIDTH), (1, POSITIONS, WIDTH))
    moved = other[:, torch.randperm(POSITIONS, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(align(reference, moved), align(reference, other))
