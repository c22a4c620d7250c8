"""Regions and inverse clips: what is followed because the mask says so."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_data import frame, labels, write_davis, write_stills
from stremn.data import ClipRequest, StillFolder, SyntheticClips, VideoClips, read_videos
from stremn.data.segmentation.sprites import INVERSE, invert
from stremn.data.segmentation.still_clips import LARGEST, SMALLEST, with_regions
from stremn.data.segmentation.stills import Still


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), most=st.integers(1, 3))
def test_regions_are_parts_of_the_image_of_usable_size(seed: int, most: int) -> None:
    still = Still(frame(0, 120, 180), labels(0, 120, 180))
    found = with_regions(np.random.default_rng(seed), still, most)
    assert found.image is still.image
    assert found.labels.shape == still.labels.shape
    ids = np.unique(found.labels[found.labels > 0])
    assert ids.tolist() == list(range(1, len(ids) + 1))
    assert len(ids) <= most
    shares = [(found.labels == i).mean() for i in ids]
    assert all(0.8 * SMALLEST < share < 1.2 * LARGEST for share in shares)


def test_regions_follow_contours() -> None:
    image = np.zeros((100, 160, 3), np.uint8)
    image[:, 80:] = (250, 240, 60)
    for seed in range(10):
        found = with_regions(
            np.random.default_rng(seed), Still(image, np.zeros((100, 160), np.uint8)), 19
        ).labels
        for i in np.unique(found[found > 0]):
            across = (found == i).any(axis=0)
            assert not (across[:70].any() and across[90:].any())


@pytest.mark.parametrize("one", [1, 2])
def test_inverse_clips_follow_all_but_one_object(one: int) -> None:
    clip = [labels(t) for t in range(4)]
    seed = next(s for s in range(20) if np.random.default_rng(s).choice([1, 2]) == one)
    inverse = [ids.copy() for ids in clip]
    invert(np.random.default_rng(seed), inverse)
    for ids, other in zip(clip, inverse, strict=True):
        assert ((other == 0) == (ids == one)).all()
        assert set(np.unique(other)) == {0, INVERSE}


def test_without_an_object_nothing_is_inverted() -> None:
    clip = [np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)]
    invert(np.random.default_rng(0), clip)
    assert not clip[0].any()
    assert clip[1].all()


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> StillFolder:
    return StillFolder(write_stills(tmp_path_factory.mktemp("stills") / "small"))


def test_clips_of_inverse_objects_cover_most_of_the_frame(
    stills: StillFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sequences = read_videos(write_davis(tmp_path_factory.mktemp("davis"), {"one": 8}))
    common = {"objects": 1, "seed": 3, "hidden_share": 0.0}
    for data in (
        SyntheticClips([stills], inverse_share=1.0, **common),
        VideoClips(sequences, [stills], max_gap=2, inverse_share=1.0, **common),
    ):
        covered = [float((data[ClipRequest(n, 3, 64)].labels == 1).float().mean()) for n in range(8)]
        assert np.mean(covered) > 0.5


def test_without_shares_a_seed_gives_the_clips_that_it_gave(stills: StillFolder) -> None:
    plain = SyntheticClips([stills], objects=2, seed=7)[ClipRequest(4, 3, 64)]
    same = SyntheticClips([stills], objects=2, seed=7, region_share=0.0, inverse_share=0.0)
    other = SyntheticClips([stills], objects=2, seed=7, region_share=1.0)
    assert plain.labels.equal(same[ClipRequest(4, 3, 64)].labels)
    assert not plain.labels.equal(other[ClipRequest(4, 3, 64)].labels)
