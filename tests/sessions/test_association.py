"""Parts of look-alikes that have met are given to one object each."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn import SegmentationSession, StremnError
from stremn.models.registry import MODELS
from stremn.sessions import MULTI_SCALE, SegmentationSettings
from stremn.sessions.association import Association, Grid

SIZE = (60, 100)
GRID = Grid(4.0)


def bodies(*places: tuple[int, int, int], side: int = 10) -> np.ndarray:
    """Squares ``(id, top, left)`` as labels."""
    labels = np.zeros(SIZE, np.uint8)
    for object_id, top, left in places:
        labels[top : top + side, left : left + side] = object_id
    return labels


def approaching(frames: int, ids: tuple[int, ...] = (1, 2)) -> Association:
    """Two bodies that come towards one another, three cells a frame, until they are 52 - 6 · frames apart."""
    association = Association()
    for t in range(frames):
        both = bodies((1, 20, 10 + 3 * t), (2, 22, 72 - 3 * t))
        labels = np.where(np.isin(both, ids), both, 0).astype(np.uint8)
        assert association.settle(labels, ids, GRID) is labels
    return association


def test_one_that_took_both_bodies_gives_one_back() -> None:
    association = approaching(10)
    for t in range(10, 15):  # the second is behind the first, then both are said to be the first
        together = bodies((1, 20, 10 + 3 * t), (1, 22, 72 - 3 * t))
        association.settle(together, (1, 2), GRID)
    found = association.settle(bodies((1, 20, 55), (1, 22, 27)), (1, 2), GRID)
    assert np.array_equal(found, bodies((1, 20, 55), (2, 22, 27)))


def test_bodies_that_are_shared_are_divided() -> None:
    association = approaching(10)
    mixed = bodies((1, 20, 40), (2, 22, 60))
    mixed[20:24, 40:50], mixed[28:32, 60:70] = 2, 1
    expected = bodies((1, 20, 40), (2, 22, 60))
    assert np.array_equal(association.settle(mixed, (1, 2), GRID), expected)


def test_somebody_who_is_not_followed_is_given_up() -> None:
    association = approaching(6, ids=(1,))
    found = association.settle(bodies((1, 20, 28), (1, 22, 54)), (1,), GRID)
    assert np.array_equal(found, bodies((1, 20, 28)))


def test_what_something_thin_divides_stays_whole() -> None:
    association = approaching(6, ids=(1,))
    divided = bodies((1, 20, 22), (1, 20, 33))
    assert association.settle(divided, (1,), GRID) is divided


def test_who_is_not_alike_is_left_as_it_is() -> None:
    association = Association()
    large = bodies((1, 10, 10), side=20) + bodies((2, 20, 60))
    assert association.settle(large, (1, 2), GRID) is large
    confused = bodies((2, 20, 40)) + bodies((2, 20, 60))
    assert association.settle(confused, (1, 2), GRID) is confused


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50), st.integers(0, 90)), max_size=8), st.randoms()
)
@settings(max_examples=100, deadline=None)
def test_any_labels(places: list[tuple[int, int, int]], random: object) -> None:
    """Nothing is made from nothing: where nobody was, nobody comes, and each id is one that is followed."""
    association = Association()
    association.settle(bodies((1, 5, 5), (2, 5, 30), (3, 40, 50), (4, 40, 80)), (1, 2, 3, 4), GRID)
    labels = bodies(*places)
    for _ in range(2):
        found = association.settle(labels, (1, 2, 3, 4), GRID)
        assert not found[labels == 0].any()
        assert found.max() <= 4


def test_tracks_are_of_the_frame_and_not_of_the_crop() -> None:
    association = Association()
    association.settle(bodies((1, 20, 10)), (1,), Grid(4.0, (100, 200)))
    before = association.tracks[1]
    association.settle(bodies((1, 30, 20)), (1,), Grid(4.0, (60, 160)))
    assert association.tracks[1].place == pytest.approx(before.place)
    association.forget([1])
    mask = np.zeros((400, 600), bool)
    mask[180:220, 240:280] = True
    association.begin({1: mask})
    assert association.tracks[1] == before


def scene(t: int) -> tuple[np.ndarray, np.ndarray]:
    """Two discs of one colour that pass one another, the second behind the first."""
    y, x = np.mgrid[:96, :192]
    image, labels = np.full((96, 192, 3), 90, np.uint8), np.zeros((96, 192), np.uint8)
    for object_id, (row, column) in ((2, (56, 160 - 6 * t)), (1, (40, 32 + 6 * t))):
        disc = (y - row) ** 2 + (x - column) ** 2 < 18**2
        image[disc], labels[disc] = (220, 60 + row, 40), object_id
    return image, labels


def test_a_session_associates_and_goes_on_from_a_file(tmp_path: Path) -> None:
    session = SegmentationSession("stremn-lite", size=96)
    for t in range(13):
        image, labels = scene(t)
        session.step(image, labels if t == 0 else None)
    session.save(tmp_path / "state.safetensors")
    again = SegmentationSession.load(tmp_path / "state.safetensors", "stremn-lite")
    for t in range(13, 22):
        image, labels = scene(t)
        results = [one.step(image).labels for one in (session, again)]
        assert np.array_equal(*results)
    for object_id in (1, 2):
        found, true = results[0] == object_id, labels == object_id
        assert (found & true).sum() > 0.5 * (found | true).sum()


def test_where_it_can_be() -> None:
    config = MODELS["stremn-lite"]
    assert SegmentationSettings().resolved(config).associate
    for changes in (
        {"associate": False},
        {"views": MULTI_SCALE},
        {"compile": "eager"},
        {"postprocess": True},
    ):
        assert not SegmentationSettings(**changes).resolved(config).associate
        changed = SegmentationSettings().resolved(config).changed(crop=False, **changes)
        assert not changed.resolved(config).associate
    assert not SegmentationSettings().resolved(MODELS["stremn-r50"]).associate
    with pytest.raises(StremnError, match="associate needs a model like stremn-lite"):
        SegmentationSettings(associate=True, postprocess=True).resolved(config)
