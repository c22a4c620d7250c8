"""Clips of look-alikes that cross: seeded, whole at first, and really meeting."""

import numpy as np
import pytest

from small_data import write_stills
from stremn.data import ClipRequest, CrossingClips, StillFolder

FRAMES, SIZE = 12, 96


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> StillFolder:
    return StillFolder(write_stills(tmp_path_factory.mktemp("stills") / "small", 2))


def test_a_clip_depends_on_seed_and_number_only(stills: StillFolder) -> None:
    request = ClipRequest(3, FRAMES, SIZE)
    one, two = (CrossingClips([stills], seed=5)[request] for _ in range(2))
    other = CrossingClips([stills], seed=6)[request]
    assert one.frames.equal(two.frames)
    assert one.labels.equal(two.labels)
    assert not one.frames.equal(other.frames)


def test_objects_are_seen_at_first_and_meet(stills: StillFolder) -> None:
    clips, meetings = CrossingClips([stills], seed=0), 0
    for number in range(6):
        clip = clips[ClipRequest(number, FRAMES, SIZE)]
        assert clip.frames.shape == (FRAMES, 3, SIZE, SIZE)
        assert 0 <= float(clip.frames.min()) <= float(clip.frames.max()) <= 1
        labels = clip.labels.numpy()
        ids = np.arange(1, 4)[clip.valid.numpy()]
        assert set(np.unique(labels)) == {0, *ids}
        areas = np.array([[(frame == i).sum() for i in ids] for frame in labels])
        assert (areas[0] >= 0.5 * areas.max(axis=0)).all()
        # Whoever is behind loses some of its area while they meet.
        meetings += bool((areas[:, :-1].min(axis=0) < 0.8 * areas[0, :-1]).any())
    assert meetings >= 2


def test_no_more_objects_than_asked_for_are_followed(stills: StillFolder) -> None:
    clip = CrossingClips([stills], objects=1, seed=0)[ClipRequest(0, 2, SIZE)]
    assert clip.valid.tolist() == [True]
    assert int(clip.labels.max()) == 1
