from pathlib import Path

import cv2
import numpy as np
import pytest
from file_makers import ious, shapes
from PIL import Image, ImageDraw

from stremn.files import PALETTE, read_mask

FILTERS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
SCALES = [0.5, 0.8, 1.5, 2, 3, 4.5]


def _resize(pixels: np.ndarray, scale: float, how: Image.Resampling) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.array(Image.fromarray(pixels).resize((int(width * scale), int(height * scale)), how))


def _read(path: Path, pixels: np.ndarray, **options: int) -> tuple[np.ndarray, tuple[str, ...]]:
    Image.fromarray(pixels).save(path, **options)
    mask = read_mask(path)
    return mask.labels, mask.notes


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("scale", SCALES)
def test_resized_ids(tmp_path: Path, scale: float, how: Image.Resampling) -> None:
    # Between 0 and 3 the filter invents 1 and 2, which are real ids elsewhere.
    soft = _resize(shapes(), scale, how)
    truth = _resize(shapes(), scale, Image.Resampling.NEAREST)
    labels, notes = _read(tmp_path / "a.png", soft)
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert min(ious(labels, truth).values()) > 0.94
    assert (labels != truth).mean() <= (soft != truth).mean()
    assert "antialiased, resized or compressed" in notes[0]
    assert "(ids: 1, 2, 3)" in notes[0]


@pytest.mark.parametrize("scale", SCALES)
def test_resized_black_and_white(tmp_path: Path, scale: float) -> None:
    binary = (shapes() > 0).astype(np.uint8)
    labels, notes = _read(tmp_path / "a.png", _resize(binary * 255, scale, Image.Resampling.BICUBIC))
    assert set(np.unique(labels)) == {0, 1}
    assert min(ious(labels, _resize(binary, scale, Image.Resampling.NEAREST)).values()) > 0.98
    assert "(ids: 1)" in notes[0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("davis", [True, False])
def test_resized_colours(tmp_path: Path, scale: float, davis: bool) -> None:
    colours = PALETTE[:4] if davis else np.array([[0, 0, 0], [90, 200, 30], [200, 30, 90], [255, 255, 0]])
    soft = _resize(colours.astype(np.uint8)[shapes()], scale, Image.Resampling.BICUBIC)
    labels, notes = _read(tmp_path / "a.png", soft)
    assert min(ious(labels, _resize(shapes(), scale, Image.Resampling.NEAREST)).values()) > 0.94
    assert notes[1].startswith("colours taken as object ids")


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_jpeg(tmp_path: Path, quality: int) -> None:
    binary = (shapes() > 0).astype(np.uint8)
    labels, _ = _read(tmp_path / "binary.jpg", binary * 255, quality=quality)
    assert min(ious(labels, binary).values()) > 0.98
    labels, _ = _read(tmp_path / "colour.jpg", PALETTE[shapes()], quality=quality)
    assert min(ious(labels, shapes()).values()) > 0.9
    with Image.open(tmp_path / "colour.jpg") as image:
        image.save(tmp_path / "colour.png")
    labels = read_mask(tmp_path / "colour.png").labels
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_antialiased_drawing_with_straight_edges(tmp_path: Path) -> None:
    # Only the corners are soft: few pixels, but values that are found nowhere else.
    large = Image.new("L", (1280, 960))
    ImageDraw.Draw(large).rounded_rectangle((160, 160, 959, 799), radius=40, fill=255)
    labels, notes = _read(tmp_path / "a.png", np.array(large.resize((320, 240), Image.Resampling.BOX)))
    truth = np.array(large.resize((320, 240), Image.Resampling.NEAREST)) > 0
    assert ious(labels, truth.astype(np.uint8))[1] > 0.99
    assert "antialiased" in notes[0]


def test_thin_lines_stay_connected(tmp_path: Path) -> None:
    drawing = np.zeros((120, 160), np.uint8)
    cv2.circle(drawing, (40, 60), 25, 255, -1, cv2.LINE_AA)
    cv2.line(drawing, (60, 60), (150, 20), 255, 2, cv2.LINE_AA)
    labels, _ = _read(tmp_path / "a.png", drawing)
    assert cv2.connectedComponents(labels)[0] == 2
    assert labels[15:25, 140:155].any()


def test_16_bit_antialiased(tmp_path: Path) -> None:
    binary = (shapes() > 0).astype(np.uint8)
    soft = cv2.resize(binary.astype(np.float32), (480, 360), interpolation=cv2.INTER_LINEAR)
    Image.fromarray((soft * 65535).astype(np.uint16)).save(tmp_path / "a.png")
    labels = read_mask(tmp_path / "a.png").labels
    assert set(np.unique(labels)) == {0, 1}
    assert ious(labels, (soft > 0.5).astype(np.uint8))[1] > 0.98


def test_small_objects_of_clean_masks_stay(tmp_path: Path) -> None:
    labels = shapes()
    for i in range(40):
        y, x = divmod(i, 8)
        labels[5 * y, 6 * x] = 10 + i
        labels[190 + 5 * y : 192 + 5 * y, 6 * x : 6 * x + 2] = 60 + i
    read, notes = _read(tmp_path / "a.png", labels)
    assert np.array_equal(read, labels)
    assert notes == ()


def test_a_soft_palette_image_is_taken_at_its_word(tmp_path: Path) -> None:
    soft = _resize(shapes(), 2, Image.Resampling.BILINEAR)
    image = Image.fromarray(soft)
    image.putpalette(PALETTE.tobytes())
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png").labels, soft)
