"""Pure tensor operations: no state, no weights, nothing of the rooms above."""

from stremn.ops.aggregate import soft_aggregation
from stremn.ops.fusion import align, fuse
from stremn.ops.read import affinity, space_time_read
from stremn.ops.ridge import balanced_weights, target_fit, target_moments
from stremn.ops.update import (
    gumbel_softmax,
    mix_slots,
    replace_slots,
    sample_gumbel,
    straight_through,
    update_similarity,
)

__all__ = [
    "affinity",
    "align",
    "balanced_weights",
    "fuse",
    "gumbel_softmax",
    "mix_slots",
    "replace_slots",
    "sample_gumbel",
    "soft_aggregation",
    "space_time_read",
    "straight_through",
    "target_fit",
    "target_moments",
    "update_similarity",
]
