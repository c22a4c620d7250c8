from pathlib import Path

import numpy as np
import pytest
from file_makers import shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stremn.errors import StremnError
from stremn.files import PALETTE, Legend, read_mask, write_mask


def _save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: int) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@st.composite
def clean_masks(draw: st.DrawFn) -> np.ndarray:
    """Boxes of any size, one pixel too, with any ids."""
    labels = np.zeros((48, 64), np.uint8)
    for _ in range(draw(st.integers(1, 5))):
        y, x = draw(st.integers(0, 47)), draw(st.integers(0, 63))
        h, w = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        labels[y : y + h, x : x + w] = draw(st.integers(1, 254))
    return labels


@given(clean_masks())
@settings(max_examples=40, deadline=None)
def test_palette_masks_survive_exactly(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "palette.png"
    write_mask(path, labels)
    mask = read_mask(path, size=labels.shape)
    assert np.array_equal(mask.labels, labels)
    assert mask.labels.dtype == np.uint8
    assert mask.notes == ()


@given(clean_masks())
@settings(max_examples=40, deadline=None)
def test_clean_grey_masks_survive_exactly(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    mask = read_mask(_save(tmp_path_factory.getbasetemp() / "grey.png", labels))
    assert np.array_equal(mask.labels, labels)
    assert mask.notes == ()


@given(clean_masks())
@settings(max_examples=40, deadline=None)
def test_clean_colour_masks_survive_exactly(
    tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray
) -> None:
    # A second channel makes every mask a coloured one; ids then follow the sorted colours.
    colours = np.stack([labels, np.where(labels, 255, 0), np.zeros_like(labels)], axis=-1).astype(np.uint8)
    mask = read_mask(_save(tmp_path_factory.getbasetemp() / "colour.png", colours))
    black = int(not (labels == 0).any())
    if not black:
        assert np.array_equal(mask.labels, np.searchsorted(np.unique(labels), labels))


def test_written_files_hold_the_davis_palette(tmp_path: Path) -> None:
    write_mask(tmp_path / "a.png", shapes())
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image.convert("RGB")), PALETTE[shapes()])


def test_the_palette_is_that_of_davis(shared_data: Path) -> None:
    path = next((shared_data / "DAVIS2017").rglob("schoolgirls/00000.png"))
    with Image.open(path) as image:
        theirs = np.array(image.getpalette()).reshape(-1, 3)[:8]
    assert np.array_equal(PALETTE[:8], theirs)


# --- kinds of images --------------------------------------------------------------------------------------


def test_black_and_white_is_one_object(tmp_path: Path) -> None:
    binary = (shapes() > 0).astype(np.uint8)
    for name, pixels, mode in [
        ("grey.png", binary * 255, None),
        ("rgb.png", binary * 255, "RGB"),
        ("bit.png", binary * 255, "1"),
    ]:
        mask = read_mask(_save(tmp_path / name, pixels, mode))
        assert np.array_equal(mask.labels, binary), name
    assert "object 1" in read_mask(tmp_path / "grey.png").notes[0]


def _palette(pixels: np.ndarray, colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(pixels)
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_255_beside_other_ids_is_void(tmp_path: Path, mode: str) -> None:
    labels = shapes()
    bordered = labels.copy()
    bordered[200:220] = 255
    image = Image.fromarray(bordered.astype(np.uint16) if mode == "I;16" else bordered)
    if mode == "P":
        image.putpalette(PALETTE.tobytes())
    (image.convert(mode) if mode == "RGB" else image).save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png")
    assert np.array_equal(mask.labels, np.where(bordered == 255, 0, labels))
    assert mask.notes == ("255 beside other ids: void, taken as background",)


def test_255_alone_is_an_object_unless_the_video_has_void(tmp_path: Path) -> None:
    alone, bordered = np.where(shapes() == 3, 255, 0).astype(np.uint8), shapes()
    bordered[200:220] = 255
    write_mask(tmp_path / "alone.png", alone)
    write_mask(tmp_path / "bordered.png", bordered)
    assert np.array_equal(read_mask(tmp_path / "alone.png").labels, alone)
    legend = Legend()
    assert set(np.unique(read_mask(tmp_path / "bordered.png", legend=legend).labels)) == {0, 1, 2, 3}
    assert not read_mask(tmp_path / "alone.png", legend=legend, allow_empty=True).labels.any()


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp"])
@pytest.mark.parametrize("ground", [(0, 0, 0), (2, 1, 0)])
def test_palettes_that_begin_with_the_object_are_read_by_colours(
    tmp_path: Path, name: str, ground: tuple[int, int, int]
) -> None:
    binary = (shapes() > 0).astype(np.uint8)
    _palette(1 - binary, [(255, 255, 255), ground]).save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert np.array_equal(mask.labels, binary)
    assert "read by colours" in mask.notes[0]


def test_a_quantized_mask_of_several_objects_keeps_the_davis_ids(tmp_path: Path) -> None:
    Image.fromarray(PALETTE[shapes()]).quantize(4).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        colours = image.getpalette() or []
    assert colours[:3] != [0, 0, 0], "the quantizer puts the background first: this test needs another"
    assert np.array_equal(read_mask(tmp_path / "a.png").labels, shapes())


@pytest.mark.parametrize(("clear", "others"), [(1, [0]), (255, [1, 3]), (7, [0, 2])])
def test_a_transparent_index_is_background(tmp_path: Path, clear: int, others: list[int]) -> None:
    binary = shapes() > 0
    pixels = np.where(binary, others[0], clear).astype(np.uint8)
    if len(others) > 1:
        pixels[shapes() == 1] = others[1]
    colours = [(255, 0, 0), (250, 250, 0), (0, 0, 250), (0, 250, 0)] + [(9, 90, 200)] * 252
    _palette(pixels, colours).save(tmp_path / "a.png", transparency=clear)
    mask = read_mask(tmp_path / "a.png")
    assert np.array_equal(mask.labels > 0, binary)
    assert len(np.unique(mask.labels)) == len(others) + 1
    assert "transparent" in " ".join(mask.notes)


def test_palettes_without_black_hold_ids_by_index(tmp_path: Path) -> None:
    _palette(shapes(), [(255, 255, 255), (90, 0, 0), (0, 90, 0), (0, 0, 90)]).save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png")
    assert np.array_equal(mask.labels, shapes())
    assert mask.notes == ()


@pytest.mark.parametrize("bits", [2, 4])
def test_small_grey_depths_hold_ids(tmp_path: Path, bits: int) -> None:
    import struct
    import zlib

    labels = shapes(16, 320)[:, :320] | np.uint8(1)
    packed = np.zeros((16, 320 * bits // 8), np.uint8)
    for i in range(8 // bits):
        packed |= labels[:, i :: 8 // bits] << (8 - bits * (i + 1))
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 320, 16, bits, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(png)
    assert np.array_equal(read_mask(tmp_path / "a.png").labels, labels)


def test_davis_colours_become_their_ids(tmp_path: Path) -> None:
    labels = shapes()
    labels[labels == 1] = 77
    mask = read_mask(_save(tmp_path / "a.png", PALETTE[labels]))
    assert np.array_equal(mask.labels, labels)
    assert "#008000 = 2, #808000 = 3" in mask.notes[-1]


def test_other_colours_are_numbered_in_sorted_order_and_told(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0]], np.uint8)
    mask = read_mask(_save(tmp_path / "a.png", colours[shapes()]))
    assert np.array_equal(mask.labels, np.array([0, 2, 1, 3])[shapes()])
    assert mask.notes == (
        "colours taken as object ids: #00ff00 = 1, #ff0000 = 2, #ffff00 = 3; background #000000",
    )


def test_without_black_the_rim_is_background(tmp_path: Path) -> None:
    colours = np.array([[250, 250, 255], [255, 0, 0], [0, 255, 0], [9, 0, 200]], np.uint8)
    mask = read_mask(_save(tmp_path / "a.png", colours[shapes()]))
    assert np.array_equal(mask.labels > 0, shapes() > 0)
    assert "background #fafaff" in mask.notes[-1]


def test_alpha(tmp_path: Path) -> None:
    labels = shapes()
    solid = np.dstack([PALETTE[labels], np.full(labels.shape, 200, np.uint8)])
    assert np.array_equal(read_mask(_save(tmp_path / "solid.png", solid)).labels, labels)
    cut_out = np.dstack([PALETTE[labels], np.where(labels, 255, 0).astype(np.uint8)])
    cut_out[labels == 0, :3] = 255
    mask = read_mask(_save(tmp_path / "cut.png", cut_out))
    assert np.array_equal(mask.labels, labels)
    assert "transparent" in mask.notes[0]
    silhouette = np.zeros_like(cut_out)
    silhouette[..., 3] = cut_out[..., 3]
    assert np.array_equal(read_mask(_save(tmp_path / "dark.png", silhouette)).labels, labels > 0)
    grey = np.dstack([labels, np.full_like(labels, 255)])
    assert np.array_equal(read_mask(_save(tmp_path / "la.png", grey)).labels, labels)


def test_sixteen_bits(tmp_path: Path) -> None:
    labels = shapes()
    assert np.array_equal(read_mask(_save(tmp_path / "ids.png", labels.astype(np.uint16))).labels, labels)
    scaled = read_mask(_save(tmp_path / "scaled.png", labels.astype(np.uint16) * 257))
    assert np.array_equal(scaled.labels, labels)
    white = read_mask(_save(tmp_path / "white.png", (labels > 0).astype(np.uint16) * 65535))
    assert np.array_equal(white.labels, labels > 0)
    with pytest.raises(StremnError, match=r"large.png holds id 3000.*renumber"):
        read_mask(_save(tmp_path / "large.png", labels.astype(np.uint16) * 1000))


def test_more_than_255_ids_are_refused(tmp_path: Path) -> None:
    many = np.arange(400, dtype=np.uint16).reshape(20, 20).repeat(8, 0).repeat(8, 1)
    with pytest.raises(StremnError, match=r"deep.png holds 400 ids.*1 to 255"):
        read_mask(_save(tmp_path / "deep.png", many))
    colours = np.stack([many % 256, many // 256 * 90, np.full_like(many, 7)], axis=-1).astype(np.uint8)
    with pytest.raises(StremnError, match=r"colour.png holds 399 colours"):
        read_mask(_save(tmp_path / "colour.png", colours))


# --- refusals ---------------------------------------------------------------------------------------------


def test_other_size_says_both(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"a.png is 320x240, the frames are 854x480.*nearest"):
        read_mask(_save(tmp_path / "a.png", shapes()), size=(480, 854))


def test_no_object(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(StremnError, match=r"a.png holds no object: mark"):
        read_mask(path)
    assert not read_mask(path, allow_empty=True).labels.any()


def test_unreadable_and_missing(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    whole = _save(tmp_path / "whole.png", shapes()).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for name, reason in [("text", "readable"), ("cut", "readable"), ("missing", "does not exist")]:
        with pytest.raises(StremnError, match=rf"{name}.png .*{reason}"):
            read_mask(tmp_path / f"{name}.png")


def test_a_photograph_is_refused(tmp_path: Path, shared_data: Path) -> None:
    photos = sorted((shared_data / "DAVIS2016" / "JPEGImages").rglob("00000.jpg"))[:4]
    for photo in photos:
        with pytest.raises(StremnError, match="photograph"):
            read_mask(photo)
        with Image.open(photo) as image:
            image.convert("L").save(tmp_path / "grey.png")
        with pytest.raises(StremnError, match="photograph"):
            read_mask(tmp_path / "grey.png")
