"""Frames of videos, read in any order."""

from pathlib import Path

import av
import numpy as np
import pytest

from counted_videos import number_of, numbered, write_images, write_numbered
from stremn.data.prediction import reels as video_reel
from stremn.data.prediction.any_videos import read_reels
from stremn.data.prediction.reels import FrameCache, Framing, ImageReel, Reel, VideoReel
from stremn.errors import StremnError

FRAMING = Framing(48)
KINDS = {
    "h264.mp4": {"codec": "libx264"},
    "reordered.mp4": {"codec": "libx264", "bf": "3", "x264-params": "scenecut=0"},
    "reordered.mkv": {"codec": "libx264", "bf": "3", "x264-params": "open-gop=1:scenecut=0"},
    "reordered.ts": {"codec": "libx264", "bf": "2"},
    "one_key.mp4": {"codec": "libx264", "key_every": 600},
    "divx.avi": {"codec": "mpeg4"},
    "divx_reordered.avi": {"codec": "mpeg4", "bf": "2"},
    "raw.avi": {"codec": "rawvideo"},
    "hidden.webm": {"codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "10", "cpu-used": "8"},
}


def numbers(reel: Reel, indices: range | list[int], cache: FrameCache | None = None) -> list[int]:
    return [number_of(frame) for frame in reel.read(indices, FRAMING, cache or FrameCache(10**8))]


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_reel, "_SHORT_BLOCK", 8)
    monkeypatch.setattr(video_reel, "_LONG_BLOCK", 20)


@pytest.mark.parametrize("name", KINDS)
def test_any_frame_in_any_order(tmp_path: Path, name: str, short_blocks: None) -> None:
    kind = dict(KINDS[name])
    if kind["codec"] not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {kind['codec']}")
    reel = VideoReel(write_numbered(tmp_path / name, 75, **kind))  # type: ignore[arg-type]
    assert reel.count == 75
    # The last block first, so that nothing before it has been decoded.
    order = [74, 60, 61, 3, 0, 40, 12, 11, 73]
    assert numbers(reel, order) == order
    assert numbers(VideoReel(reel.path), range(75)) == list(range(75))


def test_cache_is_bounded_and_drops_the_oldest(tmp_path: Path, short_blocks: None) -> None:
    reel = VideoReel(write_numbered(tmp_path / "a.mp4", 75))
    frame = 48 * 80 * 3
    cache = FrameCache(30 * frame)
    for start in (0, 50, 10, 60, 0, 30):
        assert numbers(reel, range(start, start + 10), cache) == list(range(start, start + 10))
        assert cache.held <= 30 * frame
    assert cache.held > 0
    tiny = FrameCache(0)
    assert numbers(reel, [5, 70], tiny) == [5, 70]
    assert tiny.held == 0


def test_a_held_block_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reel, cache = VideoReel(write_numbered(tmp_path / "a.mp4", 20)), FrameCache(10**8)
    numbers(reel, [3], cache)
    monkeypatch.setattr(reel, "_decode", None)
    assert numbers(reel, [19, 0], cache) == [19, 0]


def test_images(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "walk", [2, 0, 1, 10], "{}.png")
    (reel,) = read_reels(folder)
    assert isinstance(reel, ImageReel)
    assert (reel.name, reel.count, reel.spans) == ("walk", 4, [(0, 4)])
    assert numbers(reel, [3, 0, 2]) == [10, 0, 2]


@pytest.mark.parametrize(
    ("framing", "shape"),
    [
        (Framing(24), (24, 40, 3)),
        (Framing(96), (96, 160, 3)),
        (Framing(32, squash=True), (32, 32, 3)),
        (Framing(64, squash=True, grey=True), (64, 64, 1)),
    ],
)
def test_framing(framing: Framing, shape: tuple[int, int, int]) -> None:
    frame = framing(numbered(0b1011001110))
    assert frame.shape == shape
    assert frame.dtype == np.uint8
    assert number_of(frame) == 0b1011001110


def test_odd_shapes_keep_the_whole_short_side() -> None:
    for height, width in ((101, 99), (33, 1000), (7, 5)):
        shape = Framing(16)(np.zeros((height, width, 3), np.uint8)).shape
        assert min(shape[:2]) == 16


def test_folder_of_videos_and_folders(tmp_path: Path) -> None:
    write_numbered(tmp_path / "b.mp4", 3)
    write_numbered(tmp_path / "deep" / "a.avi", 4, codec="mpeg4")
    write_images(tmp_path / "c10", [0, 1])
    write_images(tmp_path / "c9", [0])
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden").mkdir()
    reels = read_reels(tmp_path)
    assert [(r.name, r.count) for r in reels] == [("b", 3), ("c9", 1), ("c10", 2), ("deep/a", 4)]
    assert [r.name for r in read_reels(tmp_path, ["c10", "b"])] == ["c10", "b"]
    with pytest.raises(StremnError, match="no video named 'd'"):
        read_reels(tmp_path, ["b", "d"])


def test_davis_root_reads_images_not_masks(tmp_path: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        for name in ("bear", "swan"):
            write_images(tmp_path / kind / "480p" / name, [0, 1], "{:05d}.png")
    reels = read_reels(tmp_path)
    assert [reel.name for reel in reels] == ["bear", "swan"]
    assert all("JPEGImages" in str(reel.path) for reel in reels)


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_nothing_to_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "empty":
        path.mkdir()
    with pytest.raises(StremnError, match=f"{kind}: .*; give a folder"):
        read_reels(path)


def damage(path: Path, kind: str) -> None:
    raw = bytearray(path.read_bytes())
    if kind == "cut":
        raw = raw[: len(raw) // 2]
    elif kind == "empty":
        raw = bytearray()
    else:
        middle = len(raw) // 2
        raw[middle : middle + len(raw) // 6] = bytes(len(raw) // 6)
    path.write_bytes(raw)


@pytest.mark.parametrize("kind", ["cut", "empty", "zeros"])
@pytest.mark.parametrize("name", ["a.mp4", "b.avi"])
def test_damaged_video_is_told_or_its_frames_are_right(tmp_path: Path, name: str, kind: str) -> None:
    path = write_numbered(tmp_path / name, 90, codec="libx264" if name == "a.mp4" else "mpeg4")
    damage(path, kind)
    frames, message = read_all(VideoReel(path))
    if message:
        assert name in message
        assert "\n" not in message
    else:
        # What is left of a file that ends early may be read: the frames before the cut.
        assert kind == "cut"
        assert 0 < len(frames) < 90
        assert [number_of(frame) for frame in frames[:-1]] == list(range(len(frames) - 1))


def read_all(reel: Reel) -> tuple[list[np.ndarray], str]:
    """All frames, or none and why."""
    try:
        return list(reel.read(range(reel.count), FRAMING, FrameCache(10**8))), ""
    except StremnError as error:
        return [], str(error)


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("not a video at all\n" * 50)
    with pytest.raises(StremnError, match=r"text\.mp4 is not a video"):
        _ = VideoReel(path).count


def test_images_of_two_sizes(tmp_path: Path) -> None:
    import cv2

    folder = write_images(tmp_path / "walk", [0, 1, 2])
    cv2.imwrite(str(folder / "image_0001.jpg"), numbered(1, 48, 100))
    (reel,) = read_reels(folder)
    with pytest.raises(StremnError, match=r"image_0001\.jpg: its shape differs"):
        reel.read([0, 1], FRAMING, FrameCache(0))
    (folder / "image_0002.jpg").write_bytes(b"damaged")
    with pytest.raises(StremnError, match=r"image_0002\.jpg: not a readable image"):
        reel.read([2], FRAMING, FrameCache(0))


def test_real_clips_are_the_same_from_anywhere(shared_data: Path) -> None:
    (reel,) = read_reels(shared_data / "clips" / "mma_test.mp4")
    assert reel.count == 300
    whole = VideoReel(reel.path).read(range(200, 300, 9), Framing(64), FrameCache(10**8))
    alone = [VideoReel(reel.path).read([i], Framing(64), FrameCache(0))[0] for i in (200, 254, 299)]
    for found, index in zip(alone, (0, 6, 11), strict=True):
        np.testing.assert_array_equal(found, whole[index])
