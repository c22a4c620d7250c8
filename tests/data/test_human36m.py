"""Human3.6M in the layouts in which it is handed on."""

from pathlib import Path

import pytest

from counted_videos import number_of, write_images, write_numbered
from stremn.data import FrameWindows, read_human36m
from stremn.errors import StremnError

SUBJECTS = (1, 5, 6, 7, 8, 9, 11)
ACTIONS = (
    "Walking.54138969",
    "Walking 1.60457274",
    "WalkDog.54138969",
    "WalkTogether.54138969",
    "Eating.55011271",
)


def write_videos(root: Path) -> Path:
    first = write_numbered(root / "S1" / "Videos" / f"{ACTIONS[0]}.mp4", 20, size=(80, 80))
    for subject in SUBJECTS:
        for action in ACTIONS:
            path = root / f"S{subject}" / "Videos" / f"{action}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(first.read_bytes())
    return root


def write_folders(root: Path) -> Path:
    for subject in SUBJECTS:
        for action in ACTIONS:
            write_images(root / f"S{subject}" / action, list(range(8)), "{:06d}.jpg")
    return root


def write_cameras(root: Path) -> Path:
    for subject in SUBJECTS:
        for action in ("Walking-1", "Walking-2", "WalkDog-1"):
            folder = root / f"S{subject}" / action / "imageSequence" / "54138969"
            write_images(folder, list(range(8)), "img_{:06d}.jpg")
    return root


def write_flat(root: Path) -> Path:
    for subject in SUBJECTS:
        for action in ACTIONS:
            write_images(root / "images", list(range(8)), f"S{subject}_{action}_{{:06d}}.jpg")
    return root


@pytest.mark.parametrize("write", [write_videos, write_folders, write_cameras, write_flat])
def test_walking_videos_of_the_split(tmp_path: Path, write) -> None:
    root = write(tmp_path)
    train, test = read_human36m(root), read_human36m(root, "test")
    assert len(train) == 10
    assert len(test) == 4
    names = [reel.name.replace("_", "/").split("/")[0] for reel in train]
    assert names == [s for s in ("S1", "S5", "S6", "S7", "S8") for _ in range(2)]
    assert {reel.name.replace("_", "/").split("/")[0] for reel in test} == {"S9", "S11"}
    assert not any("Walk" in reel.name and "Walking" not in reel.name for reel in train + test)
    windows = FrameWindows(test, frames=8, size=128, squash=True)
    frames = windows[0].frames
    assert frames.shape == (8, 3, 128, 128)
    assert [number_of(frame.permute(1, 2, 0).numpy()) for frame in frames] == list(range(8))


def test_every_fifth_frame(tmp_path: Path) -> None:
    windows = FrameWindows(
        read_human36m(write_videos(tmp_path), "test"), frames=4, size=128, squash=True, gap=5
    )
    frames = windows[0].frames
    assert [number_of(frame.permute(1, 2, 0).numpy()) for frame in frames] == [0, 5, 10, 15]


def test_missing_subjects_are_named(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    for subject in (5, 8):
        (root / f"S{subject}").rename(root / f"other{subject}")
    assert len(read_human36m(root, "test")) == 4
    with pytest.raises(StremnError, match="lacks walking videos of S5, S8; unpack them as in"):
        read_human36m(root)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="nowhere: is no folder"):
        read_human36m(tmp_path / "nowhere")
    with pytest.raises(StremnError, match="no split 'val'"):
        read_human36m(tmp_path, "val")
    with pytest.raises(StremnError, match="S1, S5, S6, S7, S8"):
        read_human36m(tmp_path)
