"""``stremn studio`` as a person starts and ends it."""

import http.client
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from PIL import Image

from stremn.commands import main
from stremn.errors import StremnError
from stremn.studio import Studio


def test_it_serves_until_it_is_interrupted(video: Path, tmp_path: Path) -> None:
    words = ["studio", str(video), "--out", str(tmp_path / "out"), "--no-browser"]
    with subprocess.Popen(
        [sys.executable, "-m", "stremn", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip())
        line = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=60)
        line.request("GET", f"/?{address.query}")
        assert line.getresponse().status == 303
        line.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["squares"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4 does not exist: give a video file or a folder of frames"),
        (["--size", "-1"], "--size -1 is not from 0 to 8192"),
        (["--port", "99999"], "--port 99999 is not from 0 to 65535"),
    ],
)
def test_bad_input(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["studio", *words, "--out", str(tmp_path / "out"), "--no-browser"]) == 2
    assert f"stremn: {message}" in capsys.readouterr().err


def test_folders_of_one_name_are_two_projects(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "out")
    seen = []
    for grey in (50, 200, 50):
        source = tmp_path / str(grey) / "frames"
        if not source.exists():
            source.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (96, 64), (grey,) * 3).save(source / f"{number}.png")
        studio.open(source)
        assert studio._reader is not None
        studio._reader.join()
        project = studio.opened()
        seen.append((project.folder.name, int(project.image(0).mean())))
        project.add_object()
    studio.close()
    assert seen == [("frames", 50), ("frames-2", 200), ("frames", 50)]
    assert len(project.objects) == 2


def test_a_video_is_open_in_one_studio(video: Path, tmp_path: Path) -> None:
    first, second = (Studio(tmp_path / "out") for _ in range(2))
    thread = Thread(target=first.open, args=(video,))  # as requests come
    thread.start()
    thread.join()
    assert first._reader is not None
    first._reader.join()
    with pytest.raises(StremnError, match=r"is open in another stremn studio: close it, or give another"):
        second.open(video)
    first.close()
    second.open(video)
    second.close()
