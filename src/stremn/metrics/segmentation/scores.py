"""Scores of objects, sequences and whole data sets, and how they are written down."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ObjectScore", "Score", "ScoreTable", "SeenTable", "SequenceScore", "statistics"]


def statistics(values: ArrayLike) -> tuple[float, float, float]:
    """Mean, recall and decay of the scores of one object over the frames of a sequence.

    Recall is the share of frames that score above 0.5. Decay is the mean of the first quarter of the frames
    minus that of the last; neighbouring quarters share the frame between them, as in the official tool.
    (That tool counts frames in 8 bits: past 256 frames its decay is not defined, this one is.)

    Args:
        values: (T,) scores, T ≥ 1.

    Raises:
        ValueError: if there are no values, or not one dimension of them.

    Examples:
        >>> statistics([1.0, 1.0, 0.4, 0.2, 0.2])  # mean, recall, decay
        (0.56, 0.4, 0.8)
    """
    scores = np.asarray(values, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f"statistics need a sequence of one or more scores, not shape {scores.shape}")
    # Half a frame rounds up.
    edges = np.floor(np.linspace(0, scores.size - 1, 5) + 0.5 + 1e-10).astype(int)
    decay = scores[: edges[1] + 1].mean() - scores[edges[3] :].mean()
    return float(scores.mean()), float((scores > 0.5).mean()), float(decay)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Region similarity J and contour accuracy F over time: means, recalls in [0, 1], decays in [-1, 1].

    Examples:
        >>> score = Score(j_mean=0.8, j_recall=1.0, j_decay=0.0, f_mean=0.6, f_recall=1.0, f_decay=0.0)
        >>> round(score.j_and_f, 3)
        0.7
    """

    j_mean: float
    j_recall: float
    j_decay: float
    f_mean: float
    f_recall: float
    f_decay: float

    @property
    def j_and_f(self) -> float:
        """The mean of J mean and F mean: the figure that methods are ranked by."""
        return (self.j_mean + self.f_mean) / 2

    def values(self) -> dict[str, float]:
        """The seven figures by name, J&F first."""
        return {"j_and_f": self.j_and_f} | {f.name: getattr(self, f.name) for f in fields(Score)}


@dataclass(frozen=True, kw_only=True)
class ObjectScore(Score):
    """The score of one object of one sequence, under the id it has in the truth.

    Examples:
        >>> ObjectScore.from_frames("bear", 1, j=[0.9, 0.7], f=[0.8, 0.6]).j_mean
        0.8
    """

    sequence: str
    object_id: int

    @classmethod
    def from_frames(cls, sequence: str, object_id: int, j: ArrayLike, f: ArrayLike) -> Self:
        """Sum up the (T,) scores of the frames."""
        figures = zip(fields(Score), (*statistics(j), *statistics(f)), strict=True)
        return cls(sequence=sequence, object_id=object_id, **{field.name: value for field, value in figures})


@dataclass(frozen=True, kw_only=True)
class SequenceScore(Score):
    """The mean over the objects of one sequence.

    Examples:
        >>> one = ObjectScore.from_frames("bear", 1, j=[0.9, 0.7], f=[0.8, 0.6])
        >>> ScoreTable((one,)).sequences[0].object_count
        1
    """

    sequence: str
    object_count: int


@dataclass(frozen=True)
class ScoreTable:
    """Scores per object, from which those per sequence and the overall ones follow.

    Raises:
        ValueError: if there is no object.

    Examples:
        >>> one, two = (ObjectScore.from_frames("bear", i, j=[0.9, 0.7], f=[0.8, 0.6]) for i in (1, 2))
        >>> table = ScoreTable((one, two))
        >>> round(table.overall.j_and_f, 3), table.to_csv().count("sequence,bear")
        (0.75, 1)
    """

    objects: tuple[ObjectScore, ...]

    def __post_init__(self) -> None:
        """Refuse a table that has no mean."""
        if not self.objects:
            raise ValueError("a score table needs at least one object")

    @property
    def overall(self) -> Score:
        """The mean over the objects of all sequences: a sequence of many objects weighs more, as in DAVIS."""
        return Score(**_means(self.objects))

    @property
    def means(self) -> dict[str, float]:
        """The overall figures by name."""
        return self.overall.values()

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The table of all objects of several tables."""
        return cls(tuple(score for part in parts for score in part.objects))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave; a KeyError if a part is missing."""
        names = [field.name for field in fields(ObjectScore)]
        return cls(tuple(ObjectScore(**{name: row[name] for name in names}) for row in data["objects"]))

    @property
    def sequences(self) -> tuple[SequenceScore, ...]:
        """One score per sequence, in the order in which the objects are given."""
        groups: dict[str, list[ObjectScore]] = {}
        for score in self.objects:
            groups.setdefault(score.sequence, []).append(score)
        return tuple(
            SequenceScore(sequence=name, object_count=len(scores), **_means(scores))
            for name, scores in groups.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries: ``overall``, ``sequences`` by name, and the list of ``objects``."""
        return {
            "overall": {"object_count": len(self.objects)} | self.overall.values(),
            "sequences": {s.sequence: {"object_count": s.object_count} | s.values() for s in self.sequences},
            "objects": [_named(o.sequence, o.object_id, o) for o in self.objects],
        }

    def to_csv(self) -> str:
        """One row per object, per sequence and overall; the column ``level`` tells them apart."""
        rows = [{"level": "object"} | _named(o.sequence, o.object_id, o) for o in self.objects]
        rows += [{"level": "sequence"} | _named(s.sequence, "", s) for s in self.sequences]
        rows += [{"level": "overall"} | _named("", "", self.overall)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


@dataclass(frozen=True)
class SeenTable(ScoreTable):
    """The same of YouTube-VOS, whose objects are of categories that training has seen or has not.

    J and F are means over the objects of each group, and ``g`` is the mean of the four ("YouTube-VOS: A
    Large-Scale Video Object Segmentation Benchmark", Xu et al. 2018). A figure is left out where there is no
    object for it.

    Attributes:
        seen: for each object, whether training has seen its category.

    Examples:
        >>> one, two = (ObjectScore.from_frames("bear", i, j=[i / 4], f=[i / 2]) for i in (1, 2))
        >>> {name: round(value, 3) for name, value in SeenTable((one, two), (True, False)).groups.items()}
        {'j_seen': 0.25, 'f_seen': 0.5, 'j_unseen': 0.5, 'f_unseen': 1.0, 'g': 0.562}
    """

    seen: tuple[bool, ...] = ()

    @property
    def groups(self) -> dict[str, float]:
        """J and F of each group, and ``g``."""
        figures: dict[str, float] = {}
        for name, wanted in (("seen", True), ("unseen", False)):
            group = [score for score, seen in zip(self.objects, self.seen, strict=True) if seen is wanted]
            if group:
                means = _means(group)
                figures |= {f"j_{name}": means["j_mean"], f"f_{name}": means["f_mean"]}
        return figures | ({"g": float(np.mean([*figures.values()]))} if len(figures) == 4 else {})

    @property
    def means(self) -> dict[str, float]:
        """The overall figures by name, and those of the groups."""
        return super().means | self.groups

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """The table of all objects of several tables."""
        parts = list(parts)
        objects = tuple(score for part in parts for score in part.objects)
        return cls(objects, tuple(seen for part in parts for seen in part.seen))

    def to_dict(self) -> dict[str, Any]:
        """As that of a table, with the ``groups``, and ``seen`` of each object."""
        plain = super().to_dict()
        objects = [row | {"seen": seen} for row, seen in zip(plain["objects"], self.seen, strict=True)]
        return plain | {"groups": self.groups, "objects": objects}


def _named(sequence: str, object_id: int | str, score: Score) -> dict[str, Any]:
    return {"sequence": sequence, "object_id": object_id} | score.values()


def _means(scores: Iterable[Score]) -> dict[str, float]:
    rows = list(scores)
    return {f.name: float(np.mean([getattr(row, f.name) for row in rows])) for f in fields(Score)}
