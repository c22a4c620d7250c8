"""Reading folders laid out like DAVIS."""

from pathlib import Path

import pytest

from small_data import write_davis
from stremn.data import read_videos
from stremn.errors import StremnError


def test_sequences_frames_and_masks_in_order(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"b": 3, "a": 2})
    (root / "JPEGImages" / "480p" / ".hidden").mkdir()
    a, b = read_videos(root)
    assert (a.name, b.name) == ("a", "b")
    assert [f.name for f in b.frames] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert [m.name for m in b.masks] == ["00000.png", "00001.png", "00002.png"]
    assert b.mask_of(b.frames[1]) == b.masks[1]


@pytest.mark.parametrize("resolution", ["Full-Resolution", ""])
def test_other_resolutions(resolution: str, tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 2})
    for kind in ("JPEGImages", "Annotations"):
        old = root / kind / "480p"
        if resolution:
            old.rename(root / kind / resolution)
        else:
            (old / "a").rename(root / kind / "a")
            old.rmdir()
    assert [s.name for s in read_videos(root)] == ["a"]


def test_sparse_annotation(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 3})
    (root / "Annotations" / "480p" / "a" / "00001.png").unlink()
    (sequence,) = read_videos(root)
    assert sequence.mask_of(sequence.frames[1]) is None
    assert sequence.mask_of(sequence.frames[2]) == sequence.masks[1]


def test_a_split_chooses_and_orders(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"a": 2, "b": 2, "two words": 2})
    split = tmp_path / "split.txt"
    split.write_text("# chosen\ntwo words\n\n  a\n")
    assert [s.name for s in read_videos(root, split)] == ["two words", "a"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"a": 2})
    with pytest.raises(StremnError, match="has no folder 'JPEGImages'"):
        read_videos(tmp_path)
    split = tmp_path / "split.txt"
    with pytest.raises(StremnError, match=r"split\.txt: cannot be read as a list of sequences"):
        read_videos(root, split)
    split.write_text("z\n")
    with pytest.raises(StremnError, match="z: no files of the sequence 'z'"):
        read_videos(root, split)
    for path in (root / "Annotations" / "480p" / "a").iterdir():
        path.unlink()
    with pytest.raises(StremnError, match=r"Annotations/480p/a: no files of the sequence 'a'"):
        read_videos(root)
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "bare" / kind).mkdir(parents=True)
    with pytest.raises(StremnError, match="JPEGImages: holds no sequence"):
        read_videos(tmp_path / "bare")
