"""Scores of video object segmentation as DAVIS defines them: region similarity J and contour accuracy F.

The definitions are those of Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation" (CVPR 2016) and Pont-Tuset et al., "The 2017 DAVIS Challenge"; the numbers agree with the
official DAVIS 2017 tool to 1e-6. Every score is a fraction in [0, 1] (decay: [-1, 1]), never a percentage.
"""

from stremn.metrics.segmentation.masks import (
    FrameScores,
    contour,
    contour_accuracy,
    contour_tolerance,
    region_similarity,
    score_frame,
)
from stremn.metrics.segmentation.scores import (
    ObjectScore,
    Score,
    ScoreTable,
    SeenTable,
    SequenceScore,
    statistics,
)
from stremn.metrics.segmentation.sequences import SequenceScorer, score_folders, score_sequence

__all__ = [
    "FrameScores",
    "ObjectScore",
    "Score",
    "ScoreTable",
    "SeenTable",
    "SequenceScore",
    "SequenceScorer",
    "contour",
    "contour_accuracy",
    "contour_tolerance",
    "region_similarity",
    "score_folders",
    "score_frame",
    "score_sequence",
    "statistics",
]
