"""Pure tensor operations: no state, no weights, nothing of the rooms above."""

from stremn.ops.aggregate import soft_aggregation
from stremn.ops.choice import gumbel_softmax, sample_gumbel, straight_through
from stremn.ops.fusion import align, fuse
from stremn.ops.read import affinity, space_time_read
from stremn.ops.ridge import balanced_weights, target_fit, target_moments
from stremn.ops.similarity import update_similarity
from stremn.ops.write import mix_slots, replace_slots

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
