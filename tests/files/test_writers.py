import errno
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from file_makers import moving_square

from stremn.errors import StremnError
from stremn.files import (
    SegmentationFolder,
    VideoWriter,
    open_source,
    overlay,
    write_json,
    write_mask,
    write_text,
)
from stremn.files.outputs import part_name, replacing, write_error


def _labels(height: int = 96, width: int = 128) -> np.ndarray:
    labels = np.zeros((height, width), np.uint8)
    labels[20:60, 20:60] = 1
    labels[20:60, 60:90] = 9
    return labels


# --- overlay ----------------------------------------------------------------------------------------------


def test_overlay_changes_objects_only_and_tells_them_apart() -> None:
    frame, labels = moving_square(0), _labels()
    before = frame.copy()
    drawn = overlay(frame, labels)
    assert np.array_equal(frame, before)
    assert np.array_equal(drawn[labels == 0], frame[labels == 0])
    inside = np.zeros_like(labels)
    inside[30:50, 30:50], inside[30:50, 70:80] = 1, 2
    grey = overlay(np.full_like(frame, 128), labels)
    first, second = np.unique(grey[inside == 1], axis=0), np.unique(grey[inside == 2], axis=0)
    assert len(first) == len(second) == 1
    assert np.abs(first.astype(int) - second).max() > 20
    assert (grey[20:60, 59] != first).any(axis=-1).all(), "a contour on both sides of a common border"
    assert (grey[20:60, 60] != second).any(axis=-1).all()


def test_an_overlay_says_which_objects_are_lost() -> None:
    frame, labels = np.full((96, 128, 3), 90, np.uint8), np.zeros((96, 128), np.uint8)
    plain, told = overlay(frame, labels), overlay(frame, labels, lost=[2, 200])
    changed = (plain != told).any(axis=2)
    assert changed[4:26, 4:40].mean() > 0.9
    assert not changed[:, 100:].any()
    # However small the frame, however many they are.
    assert overlay(frame[:20, :10], labels[:20, :10], lost=range(1, 30)).shape == (20, 10, 3)


def test_overlay_of_nothing_and_of_everything() -> None:
    frame = moving_square(0)
    assert np.array_equal(overlay(frame, np.zeros((96, 128), np.uint8)), frame)
    assert not np.array_equal(overlay(frame, np.full((96, 128), 255, np.uint8)), frame)
    with pytest.raises(ValueError, match="labels"):
        overlay(frame, np.zeros((96, 127), np.uint8))


# --- video ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(96, 128), (95, 127), (97, 128), (1, 1)])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), None, 12.5])
def test_video(tmp_path: Path, height: int, width: int, rate: Fraction | float | None) -> None:
    frames = [np.full((height, width, 3), (200, 60, 20 + i), np.uint8) for i in range(7)]
    with VideoWriter(tmp_path / "overlay.mp4", rate) as writer:
        for frame in frames:
            writer.write(frame)
    assert [p.name for p in tmp_path.iterdir()] == ["overlay.mp4"]
    with open_source(tmp_path / "overlay.mp4") as source:
        read = list(source)
        assert source.frame_rate == Fraction(rate or 25)
    assert len(read) == 7
    assert read[0].image.shape == (height + height % 2, width + width % 2, 3)
    for frame, written in zip(read, frames, strict=True):
        assert np.abs(frame.image[:height, :width].astype(int) - written).mean() < 4, "colours come back"
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.name == ("h264" if "libx264" in av.codecs_available else "mpeg4")


def test_no_frame_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "overlay.mp4", 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 25) as writer:
        writer.write(moving_square(0))
        with pytest.raises(ValueError, match="96, 128"):
            writer.write(moving_square(0, 64, 64))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_video_is_complete(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), VideoWriter(tmp_path / "a.mp4", 25) as writer:  # noqa: PT012
        for i in range(9):
            writer.write(moving_square(i))
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert sum(1 for _ in open_source(tmp_path / "a.mp4")) == 9


_ENDLESS = """
import signal, sys, numpy as np
from stremn.files import VideoWriter
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
frames = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), dtype=np.uint8)
with VideoWriter(sys.argv[1], 25) as writer:
    for i in range(10**9):
        writer.write(frames[i % 20])
        if i == 20:
            print("running", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_control_c_in_a_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _ENDLESS, str(tmp_path / "a.mp4")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"running"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert sum(1 for _ in open_source(tmp_path / "a.mp4")) > 20


# --- full disk --------------------------------------------------------------------------------------------

_LIMITED = """
import resource, sys, numpy as np
from stremn.errors import StremnError
from stremn.files import VideoWriter, write_json, write_mask
resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))
noise = np.random.default_rng(0)

def video(count):
    with VideoWriter(sys.argv[1], 25) as writer:
        for i in range(count):
            frame = noise.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            writer.write(frame)

for write in [
    lambda: video(200),
    lambda: video(2),
    lambda: write_mask(sys.argv[1], noise.integers(0, 255, (480, 640), dtype=np.uint8)),
    lambda: write_json(sys.argv[1], list(range(100000))),
]:
    try:
        write()
        print("no error")
    except StremnError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="file-size limits of POSIX")
def test_no_space_left_in_a_real_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    expected = f"disk full while writing {tmp_path / 'out'}: free some space, or choose another folder"
    assert done.stdout.splitlines() == [expected] * 4
    assert list(tmp_path.iterdir()) == [], "nothing half-written"


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    with pytest.raises(StremnError, match="disk full"), replacing(path) as part:  # noqa: PT012
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert "choose a folder" in str(write_error(path, PermissionError(errno.EACCES, "no")))


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    for write in (
        lambda path: write_mask(path, _labels()),
        lambda path: write_json(path, {}),
        lambda path: VideoWriter(path, 25).write(moving_square(0)),
    ):
        with pytest.raises(StremnError, match="cannot write"):
            write(tmp_path / "missing" / "a")


def test_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "é", "rate": 1.5})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": "é", "rate": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_names_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    for letter in ("x", "視", "é"):
        name = letter * (251 // len(letter.encode()))
        write_mask(tmp_path / f"{name}.png", _labels())
        write_json(tmp_path / f"{name}.txt", {})
        with VideoWriter(tmp_path / f"{name}.mp4", 25) as writer:
            writer.write(moving_square(0))
    assert len(list(tmp_path.iterdir())) == 9
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(StremnError, match="the name is too long"):
        write_mask(tmp_path / ("x" * 256), _labels())


def test_names_that_are_no_utf8_survive_in_texts(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json(tmp_path / "a.json", {"source": name, "title": "é 視"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"source": name, "title": "é 視"}
    write_text(tmp_path / "a.csv", f"{name},1\n")
    assert (tmp_path / "a.csv").read_text("utf-8") == "caf\\udce9.mp4,1\n"


# --- folder -----------------------------------------------------------------------------------------------


def test_output_folder_is_made(tmp_path: Path) -> None:
    folder = SegmentationFolder(tmp_path / "a" / "b")
    assert not folder.path.exists(), "looking changes nothing"
    folder.prepare()
    assert folder.picture("1").parent.is_dir()
    assert folder.picture("x 1") == tmp_path / "a" / "b" / "masks" / "x 1.png"


def test_used_folder_needs_overwrite_and_foreign_files_stay(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    ours = [
        "masks/0.png",
        "masks/.1.png.part",
        f"masks/{part_name(Path('y' * 250)).name}",
        "overlay.mp4",
        ".overlay.mp4.part",
        "memory.png",
        "summary.json",
    ]
    foreign = ["masks/notes.txt", "holiday.jpg"]
    for name in ours + foreign:
        (tmp_path / name).write_text("x")
    with pytest.raises(StremnError, match="'overwrite'"):
        SegmentationFolder(tmp_path)
    SegmentationFolder(tmp_path, overwrite=True).prepare()
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == sorted(foreign)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(StremnError, match="is a file"):
        SegmentationFolder(tmp_path / "a", overwrite=True)


@pytest.mark.parametrize("given", ["masks", "masks/0.png", "overlay.mp4"])
def test_inputs_are_never_overwritten(tmp_path: Path, given: str) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / given).parent.mkdir(exist_ok=True)
    with pytest.raises(StremnError, match="choose another output folder"):
        SegmentationFolder(tmp_path, overwrite=True, inputs=[tmp_path / given])
    SegmentationFolder(tmp_path, overwrite=True, inputs=[tmp_path / "video.mp4"])
