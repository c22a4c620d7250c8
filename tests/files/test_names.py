"""Names on disk: splits, natural order, and what is left out of a folder."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_data import write_davis
from stremn.data import read_videos
from stremn.errors import StremnError
from stremn.files import open_source, read_mask
from stremn.files.names import IMAGE_SUFFIXES, listed_files, read_split


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("my walk", "my walk"),
        ("  walk\t", "walk"),
        ("walk/", "walk"),
        ("walk.v2", "walk.v2"),
        ("/JPEGImages/480p/my walk/00000.jpg /Annotations/480p/my walk/00000.png", "my walk"),
        ("JPEGImages/walk/0.jpg Annotations/walk/0.png 1 0 1", "walk"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_of_a_split_names_a_sequence(tmp_path: Path, line: str, name: str, encoding: str) -> None:
    split = tmp_path / "split.txt"
    split.write_bytes(f"{line}\r\n# a remark\r\n\r\n{line}\r\nother\r\n".encode(encoding))
    assert read_split(split) == [name, "other"]


def test_the_files_of_a_split_may_hold_blanks(tmp_path: Path) -> None:
    pair = ["/JPEGImages/480p/my walk/00000.jpg", "/Annotations/480p/my walk/00000.png"]
    (tmp_path / "a.txt").write_text(" ".join(pair) + " 1 0\nwalk\n")
    assert list(listed_files(tmp_path / "a.txt")) == pair


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe\x00", b"\xe9\n"])
def test_useless_splits_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(StremnError, match=r"a\.txt: .*; ") as caught:
        read_split(tmp_path / "a.txt")
    assert "\n" not in str(caught.value)


def test_frames_without_padding_come_in_natural_order_in_data_sets_too(tmp_path: Path) -> None:
    root = write_davis(tmp_path, {"b10": 12, "b9": 2})
    for path in root.rglob("0*.*"):
        path.rename(path.with_name(f"{int(path.stem)}{path.suffix}"))
    first, second = read_videos(root)
    assert (first.name, second.name) == ("b9", "b10")
    for files in (second.frames, second.masks):
        assert [int(file.stem) for file in files] == list(range(12))
    assert list(second.annotated) == list(range(12))


def _gradient() -> Image.Image:
    return Image.fromarray(np.linspace(0, 255, 24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3))


def test_images_of_every_suffix_are_frames_everywhere(tmp_path: Path) -> None:
    for kind, mode in (("JPEGImages", "RGB"), ("Annotations", "L")):
        folder = tmp_path / kind / "a"
        folder.mkdir(parents=True)
        Image.init()
        for number, suffix in enumerate(sorted(IMAGE_SUFFIXES)):
            image = _gradient() if kind == "JPEGImages" else Image.new("L", (32, 24), 1)
            target, file = Image.EXTENSION.get(suffix, "TIFF"), folder / f"{number}{suffix}"
            image.convert("1" if suffix == ".pbm" else "L" if suffix == ".pgm" else mode).save(file, target)
    with open_source(tmp_path / "JPEGImages" / "a") as source:
        assert sum(1 for _ in source) == len(IMAGE_SUFFIXES)
        assert source.lost_frames == 0
    (video,) = read_videos(tmp_path)
    assert len(video.frames) == len(video.masks) == len(IMAGE_SUFFIXES)
    assert read_mask(tmp_path / "Annotations" / "a" / video.masks[-1].name).labels.shape == (24, 32)


def test_files_that_are_left_out_are_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("0.png", "1.png", "10.heic", "2.exr", ".hidden.heic", "notes.txt", "Thumbs.db"):
        _gradient().save(tmp_path / name, "PNG")
    with caplog.at_level(logging.WARNING, "stremn"), open_source(tmp_path) as source:
        assert source.frame_names == ("0", "1")
    (record,) = caplog.records
    assert "2 files are no images of a known kind and are left out: 2.exr, 10.heic" in record.getMessage()


@pytest.mark.skipif(not hasattr(Path, "symlink_to"), reason="links")
def test_links_to_nothing_are_lost_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("0.jpg", "2.jpg"):
        _gradient().save(tmp_path / name)
    (tmp_path / "1.jpg").symlink_to("nowhere")
    with caplog.at_level(logging.WARNING, "stremn"), open_source(tmp_path) as source:
        assert [(frame.index, frame.name) for frame in source] == [(0, "0"), (2, "2")]
        assert source.lost_frames == 1
    assert "1.jpg cannot be read and is skipped (a link to nothing)" in caplog.text


def test_the_mask_among_the_frames_is_no_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("0.png", "0_mask.png", "1.png"):
        _gradient().save(tmp_path / name)
    for without in (tmp_path / "0_mask.png", tmp_path / ".." / tmp_path.name / "0_mask.png"):
        with open_source(tmp_path, without=without) as source:
            assert source.frame_names == ("0", "1")
        assert "0_mask.png lies among the frames" in caplog.text
        caplog.clear()
    with open_source(tmp_path, without=tmp_path / "elsewhere.png") as source:
        assert source.frame_count == 3
    assert not caplog.records
