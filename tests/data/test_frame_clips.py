"""Clips of videos without annotation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from counted_videos import number_of, write_images, write_numbered
from stremn.data import ClipRequest, FrameClips, FrameWindows, collate_frames, read_reels
from stremn.data.prediction.clips import _order
from stremn.errors import StremnError
from stremn.training.plan import StepSampler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    write_numbered(root / "long.mp4", 60)
    write_numbered(root / "other.avi", 30, codec="mpeg4")
    write_images(root / "short", [0, 1, 2])
    return root


def shown(frames: torch.Tensor) -> list[int]:
    return [number_of(frame.permute(1, 2, 0).numpy()) for frame in frames]


def test_clip_depends_on_seed_and_number_only(folder: Path) -> None:
    def clips(seed: int) -> FrameClips:
        return FrameClips(read_reels(folder), seed=seed, zoom=1.5)

    request = ClipRequest(5, 4, 32)
    first, again = clips(0), clips(0)
    for number in (9, 2, 7):
        again[ClipRequest(number, 3, 16)]
    assert torch.equal(first[request].frames, again[request].frames)
    assert not torch.equal(first[request].frames, clips(1)[request].frames)
    assert first[request].frames.shape == (4, 3, 32, 32)
    assert first[request].frames.dtype == torch.float32
    assert 0 <= first[request].frames.min() < first[request].frames.max() <= 1


def test_frames_follow_each_other(folder: Path) -> None:
    clips = FrameClips(read_reels(folder), seed=0, squash=True, mirror=False, grey=True)
    starts = set()
    for number in range(40):
        frames = clips[ClipRequest(number, 5, 40)].frames
        assert frames.shape == (5, 1, 40, 40)
        found = shown(frames)
        assert found == list(range(found[0], found[0] + 5))
        starts.add(found[0])
    assert len(starts) > 15


def test_gaps_and_mirror(folder: Path) -> None:
    reels = read_reels(folder, ["long"])
    clips = FrameClips(reels, seed=0, squash=True, mirror=False, gap=5)
    starts = set()
    for number in range(200):
        found = shown(clips[ClipRequest(number, 4, 40)].frames)
        assert np.diff(found).tolist() == [5, 5, 5]
        starts.add(found[0])
    # A clip spans 16 of 60 frames: drawn are the first place, frames 0, 5, 10, 15, and the last.
    assert (min(starts), max(starts)) == (0, 44)
    mirrored = FrameClips(reels, seed=0, squash=True, mirror=True, gap=5)
    flips = 0
    for number in range(30):
        request = ClipRequest(number, 4, 40)
        plain, other = clips[request].frames, mirrored[request].frames
        flips += torch.equal(other, plain.flip(-1))
        assert torch.equal(other, plain) or torch.equal(other, plain.flip(-1))
    assert 5 < flips < 25


def test_varied_clips_are_turned_played_backwards_and_brightened(folder: Path) -> None:
    reels = read_reels(folder, ["long"])
    plain, varied = (FrameClips(reels, seed=0, squash=True, mirror=False, vary=v) for v in (False, True))
    kinds = set()
    for number in range(100):
        request = ClipRequest(number, 4, 40)
        before, after = plain[request].frames, varied[request].frames
        for turns, back in ((turns, back) for turns in range(4) for back in (False, True)):
            same = torch.rot90(before.flip(0) if back else before, turns, dims=(2, 3))
            # Brightness changes by one rising curve for the whole clip.
            if (after.flatten()[same.flatten().argsort()].diff() >= 0).all():
                kinds.add((turns, back))
        assert not torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert len(kinds) == 8


def test_the_order_of_varied_clips_is_that_of_a_video() -> None:
    kinds = set()
    for seed in range(100):
        order = _order(np.random.default_rng(seed), 20)
        steps = np.diff(order)
        assert order.min() >= 0
        assert order.max() < 20
        assert set(steps) <= {-1, 0, 1}
        kinds.add(tuple(sorted(set(steps))))
    assert kinds == {(1,), (-1, 1), (0, 1), (-1, 0, 1)}


def test_videos_too_short_are_passed_over(folder: Path) -> None:
    clips = FrameClips(read_reels(folder), seed=0)
    for number in range(5):
        assert len(clips[ClipRequest(number, 50, 16)].frames) == 50
    with pytest.raises(StremnError, match="shorter than the 61 frames that a clip spans; set fewer 'frames'"):
        clips[ClipRequest(0, 61, 16)]


def test_videos_too_short_for_the_gap_are_passed_over(folder: Path) -> None:
    clips = FrameClips(read_reels(folder), seed=0, squash=True, mirror=False, gap=10)
    starts = {shown(clips[ClipRequest(number, 5, 40)].frames)[0] for number in range(60)}
    # 41 frames of 60, none of the video of 30.
    assert starts <= set(range(20))
    with pytest.raises(
        StremnError, match="the 61 frames that a clip spans; set fewer 'frames' or a smaller 'gap'"
    ):
        clips[ClipRequest(0, 7, 40)]


def test_refused_settings(folder: Path) -> None:
    with pytest.raises(StremnError, match="no video"):
        FrameClips([], seed=0)
    with pytest.raises(StremnError, match="must be 1 or more"):
        FrameClips(read_reels(folder), seed=0, zoom=0.5)
    with pytest.raises(StremnError, match="must be 1 or more"):
        FrameClips(read_reels(folder), seed=0, gap=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_sampler_works_unchanged(folder: Path, workers: int) -> None:
    clips = FrameClips(read_reels(folder), seed=0, zoom=1.25)
    sampler = StepSampler([(2, 5, 24), (3, 4, 16)], steps=4, seed=0)
    loader = DataLoader(clips, batch_sampler=sampler, num_workers=workers, collate_fn=collate_frames)
    for batch, requests in zip(loader, sampler, strict=True):
        assert torch.equal(batch.frames, torch.stack([clips[r].frames for r in requests]))


def test_windows_cover_the_videos(folder: Path) -> None:
    windows = FrameWindows(read_reels(folder), frames=8, size=40, squash=True)
    assert len(windows) == 60 // 8 + 30 // 8
    assert [shown(windows[i].frames)[0] for i in range(len(windows))] == [*range(0, 56, 8), 0, 8, 16]
    assert shown(windows[2].frames) == list(range(16, 24))
    assert torch.equal(windows[ClipRequest(2, 8, 40)].frames, windows[2].frames)
    with pytest.raises(IndexError):
        windows[len(windows)]
    with pytest.raises(StremnError, match="the list has 8 of 40"):
        windows[ClipRequest(0, 9, 40)]


def test_windows_with_gap_and_stride(folder: Path) -> None:
    reels = read_reels(folder, ["other"])
    windows = FrameWindows(reels, frames=4, size=40, squash=True, gap=5, stride=7)
    assert [shown(windows[i].frames) for i in range(len(windows))] == [
        [0, 5, 10, 15],
        [7, 12, 17, 22],
        [14, 19, 24, 29],
    ]


def test_windows_show_the_middle(folder: Path) -> None:
    frame = FrameWindows(read_reels(folder, ["long"]), frames=1, size=48)[45].frames[0]
    whole = FrameWindows(read_reels(folder, ["long"]), frames=1, size=48, squash=True)[45].frames[0]
    assert frame.shape == (3, 48, 48)
    # 48 of 80 columns: stripes 2 to 7 of 10.
    stripes = frame[0].mean(dim=0).reshape(6, 8).mean(dim=1) > 0.5
    expected = torch.tensor([bool((45 >> bit) & 1) for bit in range(2, 8)])
    assert torch.equal(stripes, expected)
    assert number_of(whole.permute(1, 2, 0).numpy()) == 45


def test_no_video_is_long_enough(folder: Path) -> None:
    with pytest.raises(StremnError, match="no video has 100 frames"):
        FrameWindows(read_reels(folder), frames=100, size=16)
    with pytest.raises(StremnError, match="no video has 65 frames"):
        FrameWindows(read_reels(folder), frames=33, gap=2, size=16)


def test_real_clips(shared_data: Path) -> None:
    windows = FrameWindows(read_reels(shared_data / "clips", ["mma_part"]), frames=15, size=128)
    assert len(windows) == 2
    frames = windows[1].frames
    assert frames.shape == (15, 3, 128, 128)
    assert frames.std() > 0.05
    steps = (frames[1:] - frames[:-1]).abs().mean()
    assert 0 < steps < 0.1
