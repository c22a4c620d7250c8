"""KTH in the layouts in which it is handed on."""

from pathlib import Path

import pytest
import torch

from counted_videos import number_of, write_images, write_numbered
from stremn.data import ClipRequest, FrameClips, FrameWindows, kth_stride, read_kth
from stremn.errors import StremnError

LIST = """\
Below are the frames of each sequence ... and how people were divided:
Training:\tperson11, 12, 13
--------------------------------------------------------------
person01_boxing_d1\t\tframes\t1-20, 21-40, 50-60
person01_running_d2\t\tframes\t5-12, 30-38\t
person02_boxing_d4\t\tframes\t1-15, 16-99
person13_handclapping_d3 \t*missing*
"""


def write_kth(root: Path, *, flat: bool, listed: bool) -> Path:
    """Persons 1 to 25 boxing, person 1 running too; short files, as avi in MPEG-4 like the set itself."""
    first = root / "boxing" / "person01_boxing_d1_uncomp.avi"
    write_numbered(first, 64, codec="mpeg4", size=(120, 160))
    for person in range(2, 26):
        copy = first.with_name(f"person{person:02d}_boxing_d4_uncomp.avi")
        copy.write_bytes(first.read_bytes())
    running = root / "running" / "person01_running_d2_uncomp.avi"
    running.parent.mkdir()
    running.write_bytes(first.read_bytes())
    if flat:
        for file in [*root.glob("*/*.avi")]:
            file.rename(root / file.name)
    if listed:
        (root / "00sequences.txt").write_text(LIST)
    return root


@pytest.mark.parametrize("flat", [False, True])
def test_split_by_persons(tmp_path: Path, flat: bool) -> None:
    root = write_kth(tmp_path, flat=flat, listed=False)
    train, test = read_kth(root), read_kth(root, "test")
    assert len(train) == 17
    assert {int(r.name[6:8]) for r in train} == set(range(1, 17))
    assert {int(r.name[6:8]) for r in test} == set(range(17, 26))
    assert sum("running" in reel.name for reel in train) == 1
    assert len(read_kth(root, actions=["boxing"])) == 16
    assert train[0].spans == [(0, 64)]


def test_frames_of_the_list_only(tmp_path: Path) -> None:
    reels = {reel.name: reel for reel in read_kth(write_kth(tmp_path, flat=False, listed=True))}
    # Ranges that touch are one; numbers count from 1; a range may not pass the end of the file.
    assert reels["person01_boxing_d1"].spans == [(0, 40), (49, 60)]
    assert reels["person01_running_d2"].spans == [(4, 12), (29, 38)]
    assert reels["person02_boxing_d4"].spans == [(0, 64)]
    assert reels["person03_boxing_d4"].spans == [(0, 64)]
    clips = FrameClips([reels["person01_running_d2"]], seed=0, grey=True, squash=True, mirror=False)
    starts = set()
    for number in range(60):
        frames = clips[ClipRequest(number, 6, 128)].frames
        assert frames.shape == (6, 1, 128, 128)
        starts.add(number_of(frames[0].permute(1, 2, 0).numpy()))
    assert starts == {4, 5, 6, 29, 30, 31, 32}


def test_test_clips(tmp_path: Path) -> None:
    reels = read_kth(write_kth(tmp_path, flat=False, listed=True))
    picked = [reel for reel in reels if reel.name in ("person01_boxing_d1", "person01_running_d2")]
    assert [kth_stride(reel) for reel in picked] == [30, 3]
    windows = FrameWindows(
        picked, frames=8, size=128, grey=True, squash=True, stride=lambda reel: kth_stride(reel, 8)
    )
    starts = [number_of(windows[i].frames[0].permute(1, 2, 0).numpy()) for i in range(len(windows))]
    assert starts == [0, 8, 16, 24, 32, 49, 4, 29]


def test_folders_of_frames(tmp_path: Path) -> None:
    for person in range(17, 26):
        folder = tmp_path / "walking" / f"person{person}_walking_d1_uncomp"
        write_images(folder, [3, 4, 5, 6, 20, 21, 22])
    (tmp_path / "walking" / "person17_walking_d2_uncomp").mkdir()
    reels = read_kth(tmp_path, "test")
    assert len(reels) == 9
    assert reels[0].spans == [(0, 4), (4, 7)]
    assert len(FrameWindows(reels, frames=3, size=16)) == 18


def test_the_usual_avi_gives_grey_squares_in_range(tmp_path: Path) -> None:
    windows = FrameWindows(
        read_kth(write_kth(tmp_path, flat=False, listed=False), "test"),
        frames=30,
        size=128,
        grey=True,
        squash=True,
    )
    frames = windows[3].frames
    assert frames.shape == (30, 1, 128, 128)
    assert frames.dtype == torch.float32
    assert 0 <= frames.min() < 0.2 < 0.8 < frames.max() <= 1


def test_missing_persons_are_named(tmp_path: Path) -> None:
    root = write_kth(tmp_path, flat=False, listed=False)
    for person in (18, 25):
        (root / "boxing" / f"person{person}_boxing_d4_uncomp.avi").unlink()
    read_kth(root)
    with pytest.raises(StremnError, match=r"lacks the videos of 2 of 9 persons of 'test' \(18, 25\)"):
        read_kth(root, "test")


@pytest.mark.parametrize(
    ("root", "split", "message"),
    [
        ("nowhere", "train", "nowhere: is no folder"),
        (".", "val", "no split 'val': choose one of train, test"),
        (".", "train", "lacks the videos of 16 of 16 persons"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, root: str, split: str, message: str) -> None:
    with pytest.raises(StremnError, match=message):
        read_kth(tmp_path / root, split)


def test_a_list_without_frames(tmp_path: Path) -> None:
    (tmp_path / "00sequences.txt").write_text("404 not found")
    with pytest.raises(StremnError, match=r"00sequences\.txt: lists no frames"):
        read_kth(tmp_path)


def test_too_short_videos(tmp_path: Path) -> None:
    reels = read_kth(write_kth(tmp_path, flat=False, listed=False), "test")
    with pytest.raises(StremnError, match="no video has 65 frames"):
        FrameWindows(reels, frames=65, size=128)
