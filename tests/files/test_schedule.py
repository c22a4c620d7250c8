import logging
from pathlib import Path

import numpy as np
import pytest
from file_makers import write_frames
from PIL import Image

from stremn.errors import StremnError
from stremn.files import Frame, MaskSchedule, mask_folder, open_source, write_mask


def _frame(index: int, name: str | None = None) -> Frame:
    return Frame(index, name or f"{index:05d}", np.zeros((24, 32, 3), np.uint8))


def _mask(object_id: int) -> np.ndarray:
    labels = np.zeros((24, 32), np.uint8)
    labels[5:15, 5:15] = object_id
    return labels


def test_one_image_is_for_the_first_frame_that_comes(tmp_path: Path) -> None:
    write_mask(tmp_path / "any name.png", _mask(7))
    schedule = MaskSchedule(tmp_path / "any name.png")
    first = schedule.at(_frame(2))
    assert first is not None
    assert np.array_equal(first, _mask(7))
    assert schedule.at(_frame(3)) is None


def test_folder_named_like_the_frames(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_frames(tmp_path / "frames", ["a1.jpg", "a2.jpg", "a10.jpg"])
    (tmp_path / "masks").mkdir()
    for name, object_id in [("a1", 3), ("a10", 200), ("other", 1)]:
        write_mask(tmp_path / "masks" / f"{name}.png", _mask(object_id))
    source = open_source(tmp_path / "frames")
    schedule = MaskSchedule(tmp_path / "masks", source.frame_names)
    given = [schedule.at(frame) for frame in source]
    assert [None if m is None else int(m.max()) for m in given] == [3, None, 200]
    assert "1 masks match no frame" in caplog.text
    assert "other.png" in caplog.text


def test_video_masks_go_by_number(tmp_path: Path) -> None:
    for name in ("0", "000012"):
        write_mask(tmp_path / f"{name}.png", _mask(1))
    assert sorted(mask_folder(tmp_path, None)) == ["00000", "00012"]
    schedule = MaskSchedule(tmp_path)
    assert schedule.at(_frame(0)) is not None
    assert schedule.at(_frame(1)) is None
    assert schedule.at(_frame(12)) is not None


@pytest.mark.parametrize("names", [["x0", "x1"], None])
def test_no_mask_named_like_a_frame(tmp_path: Path, names: list[str] | None) -> None:
    write_mask(tmp_path / "mine.png", _mask(1))
    with pytest.raises(StremnError, match=r"masks are mine; frames are (x0, x1|00000, 00001)"):
        mask_folder(tmp_path, names)


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="does not exist"):
        MaskSchedule(tmp_path / "missing.png")
    with pytest.raises(StremnError, match="holds no image"):
        MaskSchedule(tmp_path)
    write_mask(tmp_path / "0.png", _mask(1))
    write_mask(tmp_path / "00.png", _mask(1))
    with pytest.raises(StremnError, match="for one frame"):
        MaskSchedule(tmp_path)


def test_only_the_first_mask_must_hold_an_object(tmp_path: Path) -> None:
    for i, object_id in enumerate([1, 0]):
        write_mask(tmp_path / f"{i}.png", _mask(object_id))
    schedule = MaskSchedule(tmp_path)
    schedule.at(_frame(0))
    later = schedule.at(_frame(1))
    assert later is not None
    assert not later.any()
    with pytest.raises(StremnError, match="no object"):
        MaskSchedule(tmp_path).at(_frame(1))


def test_masks_are_read_when_their_frame_comes(tmp_path: Path) -> None:
    write_mask(tmp_path / "0.png", _mask(1))
    (tmp_path / "1.png").write_bytes(b"broken")
    schedule = MaskSchedule(tmp_path)
    assert schedule.at(_frame(0)) is not None
    with pytest.raises(StremnError, match=r"1.png is not a readable"):
        schedule.at(_frame(1))


def test_colours_keep_their_ids_over_a_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    for i, colours in enumerate([[red], [red, blue], [blue, green], [red]]):
        image = Image.new("RGB", (32, 24))
        for k, colour in enumerate(colours):
            image.paste(colour, (2 + 10 * k, 2, 10 + 10 * k, 10))
        image.save(tmp_path / f"{i}.png")
    schedule = MaskSchedule(tmp_path)
    with caplog.at_level(logging.WARNING, "stremn"):
        masks = [schedule.at(_frame(i)) for i in range(4)]
    ids = [sorted(set(m.ravel()) - {0}) for m in masks if m is not None]
    assert ids == [[1], [1, 2], [2, 3], [1]]
    assert len(caplog.records) == 3, "each new mapping once"
