"""``stremn studio`` as a person starts and ends it."""

import http.client
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stremn.commands import main


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
    ],
)
def test_bad_input(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["studio", *words, "--out", str(tmp_path / "out"), "--no-browser"]) == 2
    assert f"stremn: {message}" in capsys.readouterr().err
