import logging
import struct
import weakref
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from file_makers import damage, moving_square, write_frames, write_video
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stremn.errors import StremnError
from stremn.files import open_source
from stremn.files.names import natural_key
from stremn.files.streams import StreamSource

# --- video ------------------------------------------------------------------------------------------------


def test_video_frames_names_rate_and_pixels(tmp_path: Path) -> None:
    frames = [moving_square(i) for i in range(12)]
    with open_source(write_video(tmp_path / "a.mp4", frames, options={"crf": "4"})) as source:
        read = list(source)
        assert source.frame_rate == Fraction(30000, 1001)
        assert source.frame_count == 12
        assert source.lost_frames == 0
        assert len(list(source)) == 12, "a source can be read again"
    assert [f.name for f in read] == [f"{i:05d}" for i in range(12)]
    assert [f.index for f in read] == list(range(12))
    for frame, written in zip(read, frames, strict=True):
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image[:20, :28].astype(int) - written[:20, :28]).mean() < 6, "red stays red"


def test_fast_colour_conversion_agrees_with_ffmpeg(shared_data: Path) -> None:
    path = shared_data / "clips" / "arm_wrestling.mp4"
    with av.open(str(path)) as container, open_source(path) as source:
        for _, frame, raw in zip(range(5), source, container.decode(video=0)):
            reference = raw.to_ndarray(format="rgb24").astype(int)
            assert np.abs(frame.image - reference).mean() < 1.5


def test_real_clips_are_read_to_the_last_frame(shared_data: Path) -> None:
    for name, count in [("mma_part.mp4", 32), ("05_default_juggle.mp4", 247)]:
        with open_source(shared_data / "clips" / name) as source:
            assert source.frame_count == count
            assert sum(1 for _ in source) == count
            assert source.lost_frames == 0


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
    ],
)
def test_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, ...], turn) -> None:
    path = write_video(tmp_path / "a.mp4", [moving_square(0)] * 3)
    (plain, *_) = open_source(path)
    data = bytearray(path.read_bytes())
    a, b, c, d = (v << 16 for v in matrix)
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (turned, *_) = open_source(path)
    assert np.array_equal(turned.image, turn(plain.image))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_damage_in_the_middle_is_counted_and_passed(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = write_video(tmp_path / f"a.{suffix}", [moving_square(i) for i in range(90)], codec=codec)
    damage(path, 0.4, 0.5)
    with open_source(path) as source, caplog.at_level(logging.WARNING, "stremn"):
        read = list(source)
    assert 10 < len(read) < 90
    assert len(read) + source.lost_frames == 90
    assert [r.getMessage() for r in caplog.records] == [
        f"a.{suffix}: {source.lost_frames} of 90 frames could not be decoded and are left out"
    ]
    indices = [f.index for f in read]
    assert indices == sorted(set(indices))
    if suffix == "mp4":
        assert indices[-1] == 89, "after the damage frames have their own numbers again"


def test_a_cut_off_video_tells_the_missing_tail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [moving_square(i) for i in range(90)]
    path = write_video(tmp_path / "a.mp4", frames, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with open_source(path) as source, caplog.at_level(logging.WARNING, "stremn"):
        count = sum(1 for _ in source)
    assert 20 < count < 80
    assert source.lost_frames == 90 - count
    assert len(caplog.records) == 1


def test_size_change_in_mid_video_is_refused(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.h264", [moving_square(i) for i in range(5)])
    large = write_video(tmp_path / "b.h264", [moving_square(i, 128, 160) for i in range(5)])
    joined = tmp_path / "c.h264"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    with open_source(joined) as source, pytest.raises(StremnError, match=r"160x128.*00000 is 128x96.*scale"):
        list(source)


def _bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", [moving_square(i) for i in range(5)]).read_bytes()
    still = tmp_path / "still.png"
    Image.new("RGB", (8, 8)).save(still)
    refused = [
        (_bytes(tmp_path / "empty.mp4", b""), "is empty"),
        (_bytes(tmp_path / "text.mp4", b"hello " * 100), "is not a video"),
        (_bytes(tmp_path / "text.txt", b"hello " * 100), "is not a video"),
        (_bytes(tmp_path / "cut.mp4", whole[: len(whole) // 2]), "is not a video"),
        (still, "still image"),
        (tmp_path / "missing.mp4", "does not exist"),
        (tmp_path / "missing", "does not exist"),
    ]
    for path, reason in refused:
        with pytest.raises(StremnError, match=reason) as caught:
            open_source(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(StremnError, match="no video stream"):
        open_source(path)


# --- folder -----------------------------------------------------------------------------------------------


def test_folder_order_and_names(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.jpg", "frame10.PNG", "frame 11.bmp", "last.webp"]
    write_frames(tmp_path, names)
    (tmp_path / ".hidden.png").write_bytes(b"no")
    (tmp_path / "notes.txt").write_text("no frame")
    with open_source(str(tmp_path)) as source:
        read = list(source)
        assert source.frame_names == tuple(f.name for f in read)
    assert [f.name for f in read] == ["frame1", "frame2", "frame10", "frame 11", "last"]
    assert source.frame_count == 5
    assert source.frame_rate is None


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1))
def test_natural_order_is_numeric_order(numbers: list[int]) -> None:
    names = sorted((f"f{n}.png" for n in numbers), key=natural_key)
    assert names == [f"f{n}.png" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8), unique=True), st.randoms())
def test_natural_order_does_not_depend_on_the_given_order(names: list[str], random: Random) -> None:
    shuffled = random.sample(names, len(names))
    assert sorted(shuffled, key=natural_key) == sorted(names, key=natural_key)


def test_every_kind_of_image_becomes_rgb8(tmp_path: Path) -> None:
    deep = np.full((4, 6), 257 * 100, np.uint16)
    Image.fromarray(deep).save(tmp_path / "1.png")
    Image.new("L", (6, 4), 100).save(tmp_path / "2.png")
    Image.new("LA", (6, 4), (100, 255)).save(tmp_path / "3.png")
    Image.new("RGBA", (6, 4), (100, 100, 100, 255)).save(tmp_path / "4.png")
    palette = Image.new("P", (6, 4), 1)
    palette.putpalette([0, 0, 0, 100, 100, 100])
    palette.save(tmp_path / "5.png")
    Image.new("CMYK", (6, 4), (0, 0, 0, 155)).save(tmp_path / "6.jpg")
    for frame in open_source(tmp_path):
        assert frame.image.shape == (4, 6, 3)
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image.astype(int) - 100).max() <= 1, frame.name


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, :3, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (frame,) = open_source(tmp_path)
    assert (frame.image[:, :3] == 0).all()
    assert (frame.image[:, 3:] == 200).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    (frame,) = open_source(tmp_path)
    assert frame.image.shape == (6, 4, 3)
    assert frame.image[0, 3, 0] == 255


def test_unreadable_images_are_skipped_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_frames(tmp_path, [f"{i}.jpg" for i in range(4)])
    data = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "2.jpg").write_bytes(b"not an image")
    with open_source(tmp_path) as source:
        assert [(f.index, f.name) for f in source] == [(0, "0"), (3, "3")]
    assert source.lost_frames == 2
    messages = [r.getMessage() for r in caplog.records]
    assert "1.jpg" in messages[0]
    assert "2.jpg" in messages[1]
    assert "2 of 4 frames" in messages[2]


def test_folders_without_frames_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    write_frames(tmp_path / "twice", ["a.png", "a.jpg"])
    for name, reason in [("empty", "is empty"), ("texts", "holds no image"), ("twice", "share one name")]:
        with pytest.raises(StremnError, match=reason):
            open_source(tmp_path / name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"x")
    with open_source(tmp_path / "broken") as source, pytest.raises(StremnError, match="no frame of broken"):
        list(source)


def test_size_change_in_a_folder_is_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, ["0.png", "1.png"])
    Image.new("RGB", (40, 24)).save(tmp_path / "2.png")
    with (
        open_source(tmp_path) as source,
        pytest.raises(StremnError, match=r"frame 2 .*40x24.*frame 0 is 32x24"),
    ):
        list(source)


# --- memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_no_past_frame_stays_alive(tmp_path: Path, kind: str) -> None:
    if kind == "video":
        path = write_video(tmp_path / "a.mp4", [moving_square(i) for i in range(60)] * 5)
    else:
        path = write_frames(tmp_path, [f"{i}.png" for i in range(300)])
    alive: list[weakref.ref] = []
    most = 0
    for frame in open_source(path):
        alive = [r for r in alive if r() is not None] + [weakref.ref(frame), weakref.ref(frame.image)]
        most = max(most, len(alive))
    assert frame.index == 299
    assert most <= 4, "two frames with their images"


def test_a_moving_avif_is_more_than_its_still(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(np.full((64, 96, 3), 40 * n, np.uint8)) for n in range(5))
    first.save(tmp_path / "moving.avif", save_all=True, append_images=others)
    with open_source(tmp_path / "moving.avif") as source:
        assert len([frame.index for frame in source]) == 5


# --- camera -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["camera:97", "97"])
def test_a_missing_camera_is_told(name: str) -> None:
    with pytest.raises(StremnError, match="camera:97"):
        open_source(name)


def test_a_camera_name_without_number_is_refused() -> None:
    with pytest.raises(StremnError, match="camera:0"):
        open_source("camera:front")


def test_a_number_that_is_a_path_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_frames(tmp_path / "0", ["a.png"])
    monkeypatch.chdir(tmp_path)
    assert open_source("0").frame_names == ("a",)


@pytest.mark.skipif("lavfi" not in av.formats_available, reason="this PyAV has no virtual device")
def test_frames_of_a_device(tmp_path: Path) -> None:
    device = "testsrc=size=64x48:rate=10:duration=0.5"
    with StreamSource("camera:0", av.open(device, format="lavfi"), device=True) as source:
        read = list(source)
    assert [f.name for f in read] == [f"{i:05d}" for i in range(5)]
    assert read[0].image.shape == (48, 64, 3)
    assert source.frame_rate == 10
    assert source.frame_count is None
