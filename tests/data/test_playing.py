"""How a sequence is played, once or forth and back."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_data import labels, write_davis
from stremn.data import Video, new_objects, play, played_frames, read_videos

MOST = 8


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    [video] = read_videos(write_davis(tmp_path_factory.mktemp("davis"), {"all": MOST}))
    return video


def order(video: Video, count: int, least: int) -> list[int]:
    """Which of its first frames are shown, one after the other."""
    part = Video(video.name, video.frames[:count], video.masks[:count])
    return [int(played.path.stem) for played in play(part, least)]


def test_forth_and_back(video: Video) -> None:
    assert order(video, 3, 0) == [0, 1, 2]
    assert order(video, 3, 4) == [0, 1, 2, 1, 0]
    assert order(video, 3, 6) == [0, 1, 2, 1, 0, 1, 2]
    assert order(video, 1, 5) == [0]


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, MOST), least=st.integers(0, 40))
def test_whole_passes_of_neighbouring_frames_as_few_as_reach_the_least(
    count: int, least: int, video: Video
) -> None:
    shown = order(video, count, least)
    assert len(shown) == played_frames(Video("s", video.frames[:count], ()), least)
    assert set(shown) == set(range(count))
    assert all(abs(a - b) == 1 for a, b in pairwise(shown))
    assert shown[-1] in (0, count - 1)
    if count > 1:
        assert len(shown) >= max(least, count)
        assert len(shown) == count or len(shown) - (count - 1) < least


def test_frames_come_with_their_own_truth(tmp_path: Path) -> None:
    [sequence] = read_videos(write_davis(tmp_path, {"late": 5}, joins={"late": 2}))
    moments = list(play(sequence, 9))
    assert [m.path.stem for m in moments] == [f"{i:05d}" for i in (0, 1, 2, 3, 4, 3, 2, 1, 0)]
    for moment in moments:
        index = int(moment.path.stem)
        assert moment.image.shape == (64, 96, 3)
        truth = labels(index)
        assert np.array_equal(moment.truth, np.where(truth == 2, 0, truth) if index < 2 else truth)


@pytest.mark.parametrize(
    ("truth", "known", "given"),
    [
        (None, (), None),
        ([0, 0], (), None),
        ([1, 2], (), [1, 2]),
        ([1, 2], (1,), [0, 2]),
        ([1, 2], (1, 2), None),
        ([1, 255], (), [1, 0]),
        ([0, 255], (), [0, 255]),
    ],
)
def test_only_new_objects_join(
    truth: list[int] | None, known: tuple[int, ...], given: list[int] | None
) -> None:
    found = new_objects(None if truth is None else np.array([truth], np.uint8), known)
    assert (None if found is None else found.tolist()[0]) == given
