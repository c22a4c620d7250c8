"""Whose part is whose after look-alikes have met, an addition to the paper.

Where look-alikes meet and part, each position by itself may be given to either: one object then has two
bodies, or two objects share each. Data association, as trackers of boxes have it, decides by whole parts:
each goes to one object, by what the network gave it and by where it is expected, at constant velocity.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Self

import cv2
import numpy as np

__all__ = ["Association", "Grid", "Track"]

CLAIM, OWNED, ABSENT = 0.2, 0.6, 0.3
"""Share of its usual area from which an object has a share in a part, from which that is its own if it has no
other, and below which an object is not to be seen."""

FITS = (0.5, 1.6)
"""Area of a part that can be an object, by the object's usual area."""

ALIKE, LEAST = 2.0, 24
"""How much larger one may be than another with which it is confused, and the least area, in cells."""

TOO_MUCH, APART = 1.4, 0.25
"""An object has taken another body if it is larger than usual by the one and two parts lie farther from each
other than the other, in square roots of the usual area; closer ones may be what something thin divides."""

MOST, NEVER = 6, -1e6
"""Objects and parts that are put together, and the score of two that do not fit."""

NEAR = 1.5
"""Where an object that is not to be seen may be, from where it was expected, in square roots of its area."""

SAME = (0.7, 1.3)
"""Area of an object that is seen as it was, by its usual area; its place and velocity are then measured."""

KEPT, FADE, GROWTH, SHRINKAGE = 0.5, 0.9, 1.02, 0.995
"""Share of a velocity in the next one, and what is left of it after a frame without the object; change of the
usual area in a frame where the object is larger or smaller."""


@dataclass(frozen=True)
class Grid:
    """Cells on a frame.

    Attributes:
        cell: side of a cell, in pixels of the frame.
        corner: (y, x) of the first cell's first pixel.
    """

    cell: float
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Track:
    """Where an object was, in pixels of the frame.

    Attributes:
        area: that it usually has.
        place: (y, x) of its middle.
        velocity: of that, a frame.
    """

    area: float
    place: tuple[float, float]
    velocity: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, mask: np.ndarray) -> Self | None:
        """Of a mask ``(H, W)`` bool of the frame's size; ``None`` where it is empty."""
        if not mask.any():
            return None
        y, x = np.nonzero(mask)
        return cls(float(len(y)), (float(y.mean()) + 0.5, float(x.mean()) + 0.5))

    @property
    def expected(self) -> np.ndarray:
        """Where its middle is in the next frame ``(2,)``."""
        return np.add(self.place, self.velocity)

    def after(self, area: float, place: np.ndarray) -> Self:
        """The track with one frame more, in which the object has this area and middle."""
        expected = self.expected
        if not area:
            return type(self)(self.area, _pair(expected), _pair(FADE * np.array(self.velocity)))
        if not SAME[0] * self.area < area < SAME[1] * self.area:
            slowly = GROWTH if area > self.area else SHRINKAGE
            return type(self)(slowly * self.area, _pair(expected), self.velocity)
        velocity = KEPT * np.array(self.velocity) + (1 - KEPT) * (place - self.place)
        return type(self)(0.8 * self.area + 0.2 * area, _pair(place), _pair(velocity))


class Association:
    """The tracks of the objects of a session, and what they say of parts.

    Attributes:
        tracks: by object id; an object without one is left as it is found.
    """

    def __init__(self, tracks: Mapping[int, Track] | None = None) -> None:
        self.tracks = dict(tracks or {})

    def forget(self, object_ids: Iterable[int]) -> None:
        """Remove tracks."""
        for object_id in object_ids:
            self.tracks.pop(object_id, None)

    def begin(self, masks: Mapping[int, np.ndarray]) -> None:
        """Begin tracks anew, of masks ``(H, W)`` bool of the frame's size."""
        self.forget(masks)
        self.tracks |= {i: track for i, mask in masks.items() if (track := Track.of(mask)) is not None}

    def settle(self, labels: np.ndarray, object_ids: tuple[int, ...], grid: Grid) -> np.ndarray:
        """Give parts to one object each where they are confused, and carry the tracks on.

        A part is a connected component of all objects together. Parts are confused if one object has more
        than one of them; all objects that have a share in these, or that are not to be seen and may be there,
        are then put to the parts anew, one each, as far as they are of like size. Parts that are left are
        those of somebody who is not followed; they are given up if the objects have more than they can be.

        Args:
            labels: object id of every cell ``(h, w)`` uint8, 0 = background.
            object_ids: that are looked for.
            grid: where the cells lie.

        Returns:
            ``labels`` itself if nothing is confused, else a copy.
        """
        ids = np.array(object_ids)
        count, parts, _, middles = cv2.connectedComponentsWithStats((labels > 0).view(np.uint8))
        if count > 2 and all(i in self.tracks for i in object_ids):
            middles = (middles[:, ::-1] + 0.5) * grid.cell + grid.corner
            labels = self._divided(labels, ids, parts, middles, grid.cell**2)
        y, x = np.indices(labels.shape, np.float32)
        areas, *sums = (np.bincount(labels.ravel(), w, 256)[ids] for w in (None, y.ravel(), x.ravel()))
        for object_id, area, *total in zip(object_ids, areas, *sums):
            place = (np.array(total) / max(area, 1) + 0.5) * grid.cell + grid.corner
            if (track := self.tracks.get(object_id)) is not None:
                self.tracks[object_id] = track.after(area * grid.cell**2, place)
            elif area:
                self.tracks[object_id] = Track(area * grid.cell**2, _pair(place))
        return labels

    def _divided(
        self, labels: np.ndarray, ids: np.ndarray, parts: np.ndarray, middles: np.ndarray, cell: float
    ) -> np.ndarray:
        tracks = [self.tracks[i] for i in ids.tolist()]
        usual = np.array([track.area for track in tracks])
        expected = np.array([track.expected for track in tracks])
        held = cell * np.bincount(256 * parts.ravel() + labels.ravel(), minlength=256 * len(middles))
        held = held.reshape(len(middles), 256).T[ids]
        sizes, claims = held.sum(axis=0), held >= CLAIM * usual[:, None]
        claims[:, 0] = False
        distance = np.linalg.norm(expected[:, None] - middles, axis=2) / np.sqrt(usual)[:, None]
        missing = held.sum(axis=1) < ABSENT * usual
        fits = (sizes >= FITS[0] * usual[:, None]) & (sizes <= FITS[1] * usual[:, None])
        owners = claims & (claims.sum(axis=1, keepdims=True) == 1) & (held >= OWNED * usual[:, None])
        fits &= owners | ~owners.any(axis=0)
        fits[:, owners.sum(axis=0) > 1] = False
        kept = labels
        for first in np.flatnonzero(claims.sum(axis=1) > 1).tolist():
            who, where = _connected(claims, first)
            if where.sum() < 2:
                continue
            claims[who] = False  # once is enough
            who |= missing & (distance[:, where].min(axis=1) < NEAR)
            group, places = np.flatnonzero(who), np.flatnonzero(where)
            own = usual[group]
            if own.max() > ALIKE * own.min() or own.min() < LEAST * cell:
                continue
            if max(len(group), len(places)) > MOST or not fits[np.ix_(group, places)].any(axis=0).all():
                continue
            if len(places) > len(group) and not (
                held[group].sum() > TOO_MUCH * own.sum()
                and _apart(parts, places) * cell**0.5 > APART * own.mean() ** 0.5
            ):
                continue
            score = (held / usual[:, None] - distance)[np.ix_(group, places)]
            score[~fits[np.ix_(group, places)]] = NEVER
            pairs = _pairs(score)
            if len(pairs) < min(score.shape):
                continue
            kept = kept.copy() if kept is labels else kept
            kept[np.isin(parts, places) & np.isin(labels, ids[group])] = 0
            for row, column in pairs:
                kept[parts == places[column]] = ids[group[row]]
        return kept


def _connected(claims: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """The objects and parts that hang together with an object by claims ``(O, P)``, as flags."""
    who = np.arange(len(claims)) == first
    while True:
        where = claims[who].any(axis=0)
        more = who | claims[:, where].any(axis=1)
        if (more == who).all():
            return who, where
        who = more


def _apart(parts: np.ndarray, places: np.ndarray) -> float:
    """How far the part that is farthest from all others is from them, in cells."""
    among = np.isin(parts, places)
    far = 0.0
    for place in places:
        distance = cv2.distanceTransform((parts != place).view(np.uint8), cv2.DIST_L2, 3)
        far = max(far, float(distance[among & (parts != place)].min()))
    return far


def _pairs(score: np.ndarray) -> list[tuple[int, int]]:
    """Rows and columns, each at most once, of the largest sum."""
    if score.shape[0] < score.shape[1]:
        return [(row, column) for column, row in _pairs(score.T)]
    columns = range(score.shape[1])
    orders = permutations(range(score.shape[0]), len(columns))
    best = max(orders, key=lambda rows: score[rows, columns].sum())
    return [(row, column) for row, column in zip(best, columns) if score[row, column] > NEVER]


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
