"""Sources read from a frame down to the first."""

from pathlib import Path
from weakref import WeakSet

import numpy as np
import pytest
from file_makers import damage, moving_square, write_frames, write_video
from PIL import Image

from stremn.errors import StremnError
from stremn.files import frames, open_source

FRAMES = [moving_square(index) for index in range(40)]

CODECS = {
    "B-frames": ("x.mp4", "libx264", {"g": "12", "bf": "3"}),
    "open groups": ("x.mp4", "libx264", {"x264-params": "keyint=10:open-gop=1:bframes=3:scenecut=0"}),
    "one key frame": ("x.mkv", "libx264", {"g": "1000"}),
    "mpeg4": ("x.avi", "mpeg4", {"g": "7"}),
    "vp8": ("x.webm", "libvpx", {"g": "9", "deadline": "realtime"}),
    "without index": ("x.ts", "mpeg2video", {"g": "8", "bf": "2"}),
}


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BACKWARD_BYTES", 5 * FRAMES[0].nbytes)


def assert_backward_is_forward(path: Path, last: int, pixels: bool = True) -> None:
    with open_source(path) as source:
        lost = source.lost_frames
        forward = [frame for frame in source if frame.index <= last]
        for again in range(2):
            backward = list(source.backward(last))
            assert [f.index for f in backward] == [f.index for f in forward[::-1]]
            assert [f.name for f in backward] == [f.name for f in forward[::-1]]
            for a, b in zip(backward, forward[::-1], strict=True):
                assert not pixels or np.array_equal(a.image, b.image), (a.index, again)
    # And with nothing known of the file beforehand.
    with open_source(path) as source:
        assert [f.index for f in source.backward(last)] == [f.index for f in forward[::-1]]
        assert source.lost_frames == lost


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("last", [0, 33])
def test_a_video(kind: str, last: int, tmp_path: Path) -> None:
    name, codec, options = CODECS[kind]
    assert_backward_is_forward(write_video(tmp_path / name, FRAMES, codec=codec, options=options), last)


def test_a_damaged_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", FRAMES, options={"g": "5"})
    damage(path, 0.5, 0.52)
    assert_backward_is_forward(path, 38, pixels=False)  # what a damaged frame refers to is another one


def test_a_folder_with_a_damaged_picture(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", [f"shot{index}.png" for index in range(14)])
    (folder / "shot7.png").write_text("damaged")
    assert_backward_is_forward(folder, 12)
    for missing in (7, 14):
        with open_source(folder) as source, pytest.raises(StremnError, match=f"has no frame {missing}, or"):
            list(source.backward(missing))


def test_the_pages_of_a_file(tmp_path: Path) -> None:
    pages = [Image.fromarray(frame) for frame in FRAMES[:12]]
    pages[0].save(tmp_path / "x.tiff", save_all=True, append_images=pages[1:])
    assert_backward_is_forward(tmp_path / "x.tiff", 9)


def test_few_frames_are_alive_at_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", FRAMES, options={"g": "12"})
    alive, most = WeakSet[frames.Frame](), 0
    with open_source(path) as source:
        for frame in source.backward(39):
            alive.add(frame)
            most = max(most, len(alive))
            del frame
    assert most <= 5
