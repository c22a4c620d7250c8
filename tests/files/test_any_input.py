"""Files as people have them: names, pages, pipes, turned and deep pictures, pixels that are not square."""

import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from file_makers import moving_square, shapes, write_video
from PIL import Image

from stremn.data import play, read_reels, read_videos
from stremn.errors import StremnError
from stremn.files import MaskSchedule, VideoWriter, open_source, read_mask

NAMES = [
    "12:30 walk.mp4",
    "file:a.mp4",
    "a%03d.mp4",
    "concat:a|b.mp4",
    "[a] #1.mp4",
    os.fsdecode(b"caf\xe9.mp4"),
]


@pytest.mark.parametrize("name", NAMES)
def test_videos_of_any_name_are_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    frames = [moving_square(i) for i in range(5)]
    write_video(tmp_path / "plain.mp4", frames).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as source:
        assert sum(1 for _ in source) == 5
    (reel,) = read_reels(Path(name))
    assert reel.count == 5
    Path("out:1").mkdir()
    with VideoWriter(Path("out:1") / name, 25) as writer:
        writer.write(frames[0])
    assert os.listdir("out:1") == [name]


@pytest.mark.parametrize("kind", ["webp", "tiff", "gif", "apng"])
def test_animations_and_pages_are_videos(tmp_path: Path, kind: str) -> None:
    pages = [Image.fromarray(moving_square(i)) for i in range(6)]
    path = tmp_path / f"a.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    target = "PNG" if kind == "apng" else None
    pages[0].save(path, target, save_all=True, append_images=pages[1:], duration=100, **options)
    with open_source(path) as source:
        read = list(source)
        assert source.frame_rate == (None if kind == "tiff" else 10)
        assert source.frame_count in (6, None)
    assert [frame.name for frame in read] == [f"{i:05d}" for i in range(6)]
    if kind != "gif":
        assert all(np.array_equal(frame.image, moving_square(i)) for i, frame in enumerate(read))


def test_pages_are_no_videos_to_train_on(tmp_path: Path) -> None:
    pages = [Image.fromarray(moving_square(i)) for i in range(3)]
    pages[0].save(tmp_path / "a.webp", save_all=True, append_images=pages[1:])
    (reel,) = read_reels(tmp_path / "a.webp")
    with pytest.raises(StremnError, match="convert it to a video"):
        assert reel.count


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(StremnError, match=r"a\.mp4 is a pipe or a device.*save it to a file"):
        open_source(tmp_path / "a.mp4")
    with pytest.raises(StremnError, match=r"b\.png is no regular file"):
        read_mask(tmp_path / "b.png")


@pytest.mark.parametrize("source", ["~no-such-user/a.mp4", "x" * 5000, "a\0b.mp4", "", "   "])
def test_names_that_no_file_can_have_are_refused(source: str) -> None:
    with pytest.raises(StremnError, match="does not exist") as caught:
        open_source(source)
    assert "\n" not in str(caught.value)


def test_noise_in_place_of_a_video_ends_in_one_line_or_in_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = write_video(tmp_path / "whole.mp4", [moving_square(i) for i in range(20)]).read_bytes()
    for case in range(30):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 60 if case % 2 else 8):
            data[place] = rng.integers(256)
        (tmp_path / "a.mp4").write_bytes(bytes(data))
        try:
            with open_source(tmp_path / "a.mp4") as source:
                read = [frame.index for frame in source]
            assert read == sorted(set(read))
        except StremnError as error:
            assert "\n" not in str(error)  # noqa: PT017


# --- pixels that are not square ----------------------------------------------------------------------------


def _with_pixel_aspect(path: Path, aspect: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for i in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moving_square(i), format="rgb24")))
        container.mux(stream.encode())
    return path


def test_the_written_video_keeps_the_shape_of_pixels(tmp_path: Path) -> None:
    with open_source(_with_pixel_aspect(tmp_path / "a.mp4", Fraction(16, 11))) as source:
        assert source.pixel_aspect == Fraction(16, 11)
        with VideoWriter(tmp_path / "b.mp4", source.frame_rate, source.pixel_aspect) as writer:
            for frame in source:
                writer.write(frame.image)
    with open_source(tmp_path / "b.mp4") as source:
        assert source.pixel_aspect == Fraction(16, 11)
    with open_source(write_video(tmp_path / "c.mp4", [moving_square(0)])) as source:
        assert source.pixel_aspect == 1


# --- turned ------------------------------------------------------------------------------------------------


def _turned_clip(folder: Path, orientation: int) -> np.ndarray:
    """Two frames that EXIF turns; returns the labels ``(24, 32)`` as they lie in the file."""
    labels = np.zeros((24, 32), np.uint8)
    labels[3:9, 4:26] = 1
    picture = np.repeat((labels * 200)[..., None], 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(2):
        Image.fromarray(picture).save(folder / f"{i}.png", exif=exif)
    return labels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_that_is_not_turned_is_turned_like_its_frame(
    tmp_path: Path, orientation: int, caplog: pytest.LogCaptureFixture
) -> None:
    labels = _turned_clip(tmp_path / "JPEGImages" / "a", orientation)
    (tmp_path / "Annotations" / "a").mkdir(parents=True)
    for i in range(2):
        Image.fromarray(labels).save(tmp_path / "Annotations" / "a" / f"{i}.png")
    with open_source(tmp_path / "JPEGImages" / "a") as source:
        frame = next(iter(source))
        schedule = MaskSchedule(tmp_path / "Annotations" / "a" / "0.png", source.frame_names)
        with caplog.at_level(logging.WARNING, "stremn"):
            found = schedule.at(frame)
    (video,) = read_videos(tmp_path)
    truths = [played.truth for played in play(video)]
    if orientation in (2, 3, 4):  # the sizes fit, so the mask counts as drawn on what viewers show
        assert np.array_equal(found, labels)
        assert "upright frame" in caplog.text
        return
    assert frame.orientation == orientation
    for mask in (found, *truths):
        assert np.array_equal(mask > 0, frame.image[..., 0] > 100)
    assert ("turned like its frame" in caplog.text) == (orientation > 1)


def test_a_mask_drawn_on_the_upright_frame_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _turned_clip(tmp_path / "a", 6)
    upright = np.zeros((32, 24), np.uint8)
    upright[2:5, 3:20] = 1
    Image.fromarray(upright).save(tmp_path / "m.png")
    with open_source(tmp_path / "a") as source:
        schedule = MaskSchedule(tmp_path / "m.png", source.frame_names)
        assert np.array_equal(schedule.at(next(iter(source))), upright)
    assert not caplog.records


# --- 16 bits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_frames_use_the_range_that_their_camera_has(
    tmp_path: Path, bits: int, colour: bool, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    grey = cv2.resize(np.linspace(0, 1, 256).reshape(16, 16), (48, 32))
    deep = np.stack([grey, grey**2, 1 - grey], axis=2) if colour else grey
    for i, gain in enumerate((0.5, 1.0)):
        pixels = (deep * gain * (2**bits - 1)).round().astype(np.uint16)
        cv2.imwrite(str(tmp_path / f"{i}.{suffix}"), pixels)
    with caplog.at_level(logging.WARNING, "stremn"), open_source(tmp_path) as source:
        images = [frame.image for frame in source]
    for image, gain in zip(images, (0.5, 1.0), strict=True):
        expected = deep[..., ::-1] if colour else np.repeat(deep[..., None], 3, axis=2)
        assert np.abs(image - 255 * gain * expected).max() <= 1
    told = [r.getMessage() for r in caplog.records]
    assert [f"read as pictures of {bits} bits" in text for text in told] == ([True] if bits < 16 else [])


# --- outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 20000, 3), (2, 70000, 3)])
def test_what_the_encoder_refuses_is_one_line_and_leaves_nothing(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    with pytest.raises(StremnError, match=r"cannot write .*a\.mp4") as caught:  # noqa: SIM117
        with VideoWriter(tmp_path / "a.mp4", 25) as writer:
            writer.write(np.zeros(shape, np.uint8))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [Fraction(1, 3600), 0.0001, 479.99])
def test_any_rate_can_be_written(tmp_path: Path, rate: Fraction | float) -> None:
    with VideoWriter(tmp_path / "a.mp4", rate) as writer:
        for i in range(3):
            writer.write(moving_square(i))
    assert sum(1 for _ in open_source(tmp_path / "a.mp4")) == 3


def test_damaged_masks_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(shapes()).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StremnError, match="not a readable image") as caught:
        read_mask(path)
    assert "\n" not in str(caught.value)
