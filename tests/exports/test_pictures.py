"""Exports for editors and people, read back by PyAV and Pillow."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import COUNT, HEIGHT, WIDTH, labels, write
from PIL import Image

from small_data import RATE, decode, frame, write_frames, write_video
from stremn import StremnError
from stremn.exports import Exports


def near(index: int) -> np.ndarray:
    """Where a pixel is within two of any object."""
    padded = np.pad(labels(index) > 0, 2)
    shifted = [padded[y : y + HEIGHT, x : x + WIDTH] for y in range(5) for x in range(5)]
    return np.any(shifted, axis=0)


def far(index: int) -> np.ndarray:
    """Where a pixel is 16 and more from any object, beyond the margin and blocks of codecs."""
    rows = np.pad(labels(index) > 0, 16)
    return ~np.any([rows[y : y + HEIGHT, x : x + WIDTH] for y in range(33) for x in range(33)], axis=0)


def test_alpha(tmp_path: Path) -> None:
    write(tmp_path, ["alpha"])
    for index in range(COUNT):
        with Image.open(tmp_path / f"alpha/frame é{index}.png") as image:
            assert (image.format, image.mode) == ("PNG", "RGBA")
            pixels = np.asarray(image)
        assert np.array_equal(pixels[..., 3] >= 128, labels(index) > 0)
        assert not pixels[~near(index), 3].any()
        soft = pixels[..., 3] > 0
        assert np.array_equal(pixels[soft, :3], frame(index)[soft]), "not multiplied by alpha"
        assert not pixels[far(index), :3].any(), "what was cut away is not in the file"


def read_alpha(path: Path, decoder: str | None = None) -> tuple[list[np.ndarray], Fraction, str]:
    """Frames ``(H, W, 4)``, their rate, and the kind of stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if decoder is None:
            frames = list(container.decode(stream))
        else:
            codec = av.CodecContext.create(decoder, "r")
            frames = [x for p in container.demux(stream) for x in codec.decode(p if p.size else None)]
        tag = stream.codec_context.codec_tag if decoder is None else stream.metadata["alpha_mode"]
        return [x.to_ndarray(format="rgba") for x in frames], Fraction(stream.average_rate), tag


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize(
    ("name", "decoder", "kind", "lost", "error"),
    [("prores", None, "ap4h", 0, 1.0), ("vp9", "libvpx-vp9", "1", 0.01, 6.0)],
)
def test_videos_with_alpha(
    name: str, decoder: str | None, kind: str, lost: float, error: float, cut: int, tmp_path: Path
) -> None:
    with Exports(tmp_path, [name], frame_rate=RATE) as exports:
        for index in range(COUNT):
            exports.write(frame(index)[cut:, cut:], labels(index)[cut:, cut:])
    (path,) = tmp_path.iterdir()
    frames, rate, found = read_alpha(path, decoder)
    assert abs(rate - RATE) < 0.1
    assert found == kind
    assert len(frames) == COUNT
    for index, pixels in enumerate(frames):
        mask, true = pixels[..., 3] >= 128, labels(index)[cut:, cut:] > 0
        assert (mask != true).mean() <= lost
        assert pixels[~near(index)[cut:, cut:], 3].max() <= 255 * 5 * lost
        assert np.abs(pixels[mask, :3].astype(int) - frame(index)[cut:, cut:][mask]).mean() <= error


def assert_on(path: Path, backgrounds: list[np.ndarray]) -> None:
    frames, _ = decode(path)
    assert len(frames) == COUNT
    for index, (shown, behind) in enumerate(zip(frames, backgrounds, strict=True)):
        inside, outside = labels(index) > 0, ~near(index)
        assert np.abs(shown[inside].astype(int) - frame(index)[inside]).mean() < 14
        assert np.abs(shown[outside].astype(int) - behind[outside]).mean() < 14


def plain(*colour: int) -> list[np.ndarray]:
    return [np.full((HEIGHT, WIDTH, 3), colour, np.uint8)] * COUNT


@pytest.mark.parametrize(
    ("behind", "colour"), [(None, (0, 177, 64)), ("white", (255,) * 3), ("#102030", (16, 32, 48))]
)
def test_cut_out_on_a_colour(behind: str | None, colour: tuple[int, ...], tmp_path: Path) -> None:
    write(tmp_path, ["cutout"], behind=behind)
    assert_on(tmp_path / "cutout.mp4", plain(*colour))


def test_cut_out_on_a_video_that_starts_again(tmp_path: Path) -> None:
    behind = write_video(tmp_path / "behind.mp4", 3, size=(2 * HEIGHT, 3 * WIDTH))
    write(tmp_path, ["cutout"], behind=str(behind))
    # Twice the height covers; of three times the width the middle is taken.
    large = [frame(index % 3, 2 * HEIGHT, 3 * WIDTH) for index in range(COUNT)]
    middle = [
        np.asarray(Image.fromarray(x[:, WIDTH // 2 : -(WIDTH // 2)]).resize((WIDTH, HEIGHT))) for x in large
    ]
    assert_on(tmp_path / "cutout.mp4", middle)


def test_cut_out_on_a_picture(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "behind", ["only.png"])
    for index, behind in enumerate((folder, folder / "only.png")):
        write(tmp_path / str(index), ["cutout"], behind=str(behind))
        assert_on(tmp_path / str(index) / "cutout.mp4", [frame(0)] * COUNT)


def test_backgrounds_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        StremnError, match=r"^background 'grean' is no colour and does not exist: give a name"
    ):
        Exports(tmp_path, ["cutout"], behind="grean")
    with pytest.raises(
        StremnError, match=r"^background 'green' is for the export 'cutout': choose that too$"
    ):
        Exports(tmp_path, ["coco"], behind="green")
    for name in ("notes.txt", "picture.png", "video.mp4"):
        (tmp_path / name).write_text("none")
        with pytest.raises(StremnError, match=name):
            Exports(tmp_path, ["cutout"], behind=str(tmp_path / name))


@pytest.mark.parametrize(("rate", "every"), [(10, 1), (16, 1), (25, 2), (60, 4), (None, 2)])
def test_gif(rate: int | None, every: int, tmp_path: Path) -> None:
    with Exports(tmp_path, ["gif"], frame_rate=rate) as exports:
        for index in range(13):
            exports.write(frame(index), labels(index % COUNT))
    with Image.open(tmp_path / "overlay.gif") as image:
        assert (image.format, image.size) == ("GIF", (WIDTH, HEIGHT))
        assert image.n_frames == len(range(0, 13, every))  # type: ignore[attr-defined]
        times = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            times.append(image.info["duration"])
            pixels = np.asarray(image.convert("RGB")).astype(int)
            away = labels(number * every % COUNT) == 0
            assert np.abs(pixels[away] - frame(number * every)[away]).mean() < 8
        assert image.info["loop"] == 0
    assert abs(sum(times[:-1]) - (len(times) - 1) * 1000 * every / (rate or 25)) <= 10


def test_gif_of_a_large_video_is_small(tmp_path: Path) -> None:
    with Exports(tmp_path, ["gif"]) as exports:
        exports.write(frame(0, 360, 640), np.zeros((360, 640), np.uint8))
    with Image.open(tmp_path / "overlay.gif") as image:
        assert image.size == (480, 270)
