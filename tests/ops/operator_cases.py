"""One table of all operators of ``stremn.ops``: inputs that fit, the output's shape, inputs to refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import linear

from stremn import ops
from stremn.ops.read import Method, Similarity
from stremn.ops.ridge import Solver

O, N, M, K, CK, CV = 2, 5, 6, 3, 4, 3  # noqa: E741
OCCUPIED = torch.tensor([[True, False, True, True, False, True], [False, False, True, True, True, True]])

Call = Callable[..., Tensor]


@dataclass(frozen=True)
class OperatorCase:
    """How to call one operator.

    Attributes:
        operator: its name in ``stremn.ops``.
        call: takes the inputs, and nothing else, on any device and in any dtype.
        shapes: of the floating-point inputs; they are the arguments that gradients are checked for.
        output: shape of the output.
        extra: inputs after those that are not floating point.
        bad: shapes of floating-point inputs that must be refused.
        wide: the output is float32 for narrower inputs.
        smooth: its value is differentiable, and its gradient that of its value.
    """

    operator: str
    call: Call
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    extra: tuple[Tensor, ...] = ()
    bad: tuple[tuple[tuple[int, ...], ...], ...] = ()
    wide: bool = False
    smooth: bool = True

    def inputs(self, dtype: torch.dtype = torch.float64, device: str = "cpu") -> list[Tensor]:
        """The same numbers at every call, up to rounding to ``dtype``."""
        return [
            *(t.to(device, dtype) for t in random_tensors(self.shapes)),
            *(t.to(device) for t in self.extra),
        ]


def random_tensors(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    """Seeded standard normal numbers, float64."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def _affinity(similarity: Similarity) -> Call:
    def call(query: Tensor, key: Tensor, occupied: Tensor | None = None) -> Tensor:
        return ops.affinity(query, key, similarity=similarity, occupied=occupied)

    return call


def _read(method: Method, similarity: Similarity) -> Call:
    def call(query: Tensor, key: Tensor, value: Tensor, occupied: Tensor | None = None) -> Tensor:
        return ops.space_time_read(
            query, key, value, similarity=similarity, occupied=occupied, method=method, block=2
        )

    return call


def _replace(slots: Tensor, template: Tensor, index: Tensor) -> Tensor:
    # The operator writes in place, which autograd allows on what is not a leaf.
    return ops.replace_slots(slots.clone(), template, index)


def _seeded_gumbel(like: Tensor) -> Tensor:
    return ops.sample_gumbel(like, torch.Generator(like.device).manual_seed(3))


def _fuse(deleted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    f, h, g = (partial(linear, weight=weight) for weight in weights)
    return ops.fuse(deleted, target, f, h, g)


def _target(
    features: Tensor, targets: Tensor, weights: Tensor, query: Tensor, method: Solver = "auto"
) -> Tensor:
    moments = ops.target_moments(features, targets, weights.square())
    fit = ops.target_fit(moments, ridge=0.1, method=method)
    return query.to(fit.dtype) @ fit


_QK_BAD = (
    ((O, N, CK), (O, M, CK + 1)),
    ((O, N, CK), (O + 1, M, CK)),
    ((N, CK), (O, M, CK)),
    ((O, N, CK), (O, M, CK, 1)),
)
_READ_BAD = (
    *((*pair, (O, M, CV)) for pair in _QK_BAD),
    ((O, N, CK), (O, M, CK), (O, M + 1, CV)),
    ((O, N, CK), (O, M, CK), (O + 1, M, CV)),
    ((O, N, CK), (O, M, CK), (O, M)),
)
_OCCUPIED_BAD = ((O, N, CK), (O, M + 1, CK))
_SIMILARITIES: tuple[Similarity, ...] = ("dot", "l2")
_METHODS: tuple[Method, ...] = ("dense", "blockwise", "fused")

CASES: dict[str, OperatorCase] = {
    **{
        f"affinity-{s}": OperatorCase(
            "affinity", _affinity(s), ((O, N, CK), (O, M, CK)), (O, N, M), bad=_QK_BAD
        )
        for s in _SIMILARITIES
    },
    **{
        f"affinity-{s}-occupied": OperatorCase(
            "affinity",
            _affinity(s),
            ((O, N, CK), (O, M, CK)),
            (O, N, M),
            extra=(OCCUPIED,),
            bad=(_OCCUPIED_BAD,),
        )
        for s in _SIMILARITIES
    },
    **{
        f"read-{m}-{s}": OperatorCase(
            "space_time_read",
            _read(m, s),
            ((O, N, CK), (O, M, CK), (O, M, CV)),
            (O, N, CV),
            bad=_READ_BAD,
        )
        for m in _METHODS
        for s in _SIMILARITIES
    },
    **{
        f"read-{m}-{s}-occupied": OperatorCase(
            "space_time_read",
            _read(m, s),
            ((O, N, CK), (O, M, CK), (O, M, CV)),
            (O, N, CV),
            extra=(OCCUPIED,),
            bad=((*_OCCUPIED_BAD, (O, M + 1, CV)),),
        )
        for m in _METHODS
        for s in _SIMILARITIES
    },
    "update-similarity": OperatorCase(
        "update_similarity",
        ops.update_similarity,
        ((O, N, CK), (O, K, M, CK)),
        (O, K),
        bad=(
            ((O, N, CK), (O, K, M, CK + 1)),
            ((O, N, CK), (O + 1, K, M, CK)),
            ((O, N, CK), (O, M, CK)),
            ((N, CK), (O, K, M, CK)),
        ),
        wide=True,
    ),
    "update-similarity-blocks": OperatorCase(
        "update_similarity",
        lambda candidate, slots: ops.update_similarity(candidate, slots, block=2),
        ((O, N, CK), (O, K, M, CK)),
        (O, K),
        wide=True,
    ),
    "align": OperatorCase(
        "align",
        ops.align,
        ((O, N, CK), (O, M, CK)),
        (O, N, CK),
        bad=(((O, N, CK), (O, M, CK + 1)), ((O, N, CK), (O + 1, M, CK)), ((N, CK), (O, M, CK))),
    ),
    "fuse": OperatorCase("fuse", _fuse, ((O, N, CK), (O, N, CK), (3, CK, 2 * CK)), (O, N, CK)),
    "balanced-weights": OperatorCase(
        "balanced_weights", lambda logits: ops.balanced_weights(logits.sigmoid()), ((O, N),), (O, N)
    ),
    "target-moments": OperatorCase(
        "target_moments",
        ops.target_moments,
        ((O, N, CK), (O, N, CV), (O, N)),
        (O, CK, CK + CV),
        bad=(
            ((O, N, CK), (O, N + 1, CV), (O, N)),
            ((O, N, CK), (O, N, CV), (O, N, 1)),
            ((N, CK), (N, CV), (N,)),
        ),
        wide=True,
    ),
    "target-fit": OperatorCase(
        "target_fit",
        _target,
        ((O, N, CK), (O, N, CV), (O, N), (O, M, CK)),
        (O, M, CV),
        bad=(((O, N, CK), (O, N, 0), (O, N), (O, M, CK)),),
        wide=True,
    ),
    "target-fit-products": OperatorCase(
        "target_fit",
        partial(_target, method="products"),
        ((O, N, CK), (O, N, CV), (O, N), (O, M, CK)),
        (O, M, CV),
        wide=True,
    ),
    "gumbel-softmax": OperatorCase("gumbel_softmax", ops.gumbel_softmax, ((O, K),), (O, K)),
    "gumbel-softmax-noise": OperatorCase(
        "gumbel_softmax",
        lambda scores, noise: ops.gumbel_softmax(scores, noise, tau=0.7),
        ((O, K), (O, K)),
        (O, K),
        bad=(((O, K), (O, K + 1)), ((O, K), (K,)), ((O, K), (1, K))),
    ),
    "sample-gumbel": OperatorCase("sample_gumbel", _seeded_gumbel, ((O, K),), (O, K), smooth=False),
    "straight-through": OperatorCase(
        "straight_through", ops.straight_through, ((O, K),), (O, K), smooth=False
    ),
    "soft-aggregation": OperatorCase(
        "soft_aggregation", ops.soft_aggregation, ((O, K, N),), (O, K + 1, N), wide=True
    ),
    "soft-aggregation-first-dim": OperatorCase(
        "soft_aggregation",
        lambda logits: ops.soft_aggregation(logits, dim=0),
        ((K, N),),
        (K + 1, N),
        wide=True,
    ),
    "mix-slots": OperatorCase(
        "mix_slots",
        ops.mix_slots,
        ((O, K, N, CK), (O, N, CK), (O, K)),
        (O, K, N, CK),
        bad=(
            ((O, K, N, CK), (O, N, CK), (O, K + 1)),
            ((O, K, N, CK), (O, N, CK), (1, K)),
            ((O, K, N, CK), (1, N, CK), (O, K)),
            ((O, K, N, CK), (O, N, CK + 1), (O, K)),
            ((O, K, N), (O, N), (O, K)),
        ),
    ),
    "replace-slots": OperatorCase(
        "replace_slots",
        _replace,
        ((O, K, N, CK), (O, N, CK)),
        (O, K, N, CK),
        extra=(torch.tensor([2, -1]),),
        bad=(
            ((O, K, N, CK), (1, N, CK)),
            ((O, K, N, CK), (O, N, CK + 1)),
            ((O, K, N, CK), (O, CK)),
            ((O + 1, K, N, CK), (O + 1, N, CK)),
        ),
    ),
    "replace-slots-flat": OperatorCase(
        "replace_slots", _replace, ((O, K), (O,)), (O, K), extra=(torch.tensor([0, 1]),)
    ),
}
