"""Videos and streams by their address, from servers of this machine."""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from small_data import RATE, frame, write_video
from stremn.errors import StremnError
from stremn.files import open_source, streams, without_password


class _Handler(BaseHTTPRequestHandler):
    """``/video.mp4``; ``/motion``, parts of JPEG that end after five; ``/stuck``, that stay away then."""

    video: bytes

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path in ("/motion", "/stuck"):
            self._begin("multipart/x-mixed-replace; boundary=part")
            for index in range(5):
                jpeg = cv2.imencode(".jpg", frame(index)[..., ::-1])[1].tobytes()
                head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            if self.path == "/stuck":
                self.server.released.wait(20)  # type: ignore[attr-defined]
        elif self.path == "/silent":
            self.server.released.wait(20)  # type: ignore[attr-defined]
        elif self.path in ("/video.mp4", "/cut"):
            self._begin("video/mp4", len(self.video))
            self.wfile.write(self.video if self.path == "/video.mp4" else self.video[:3000])
        elif self.path == "/page":
            self._begin("text/html")
            self.wfile.write(b"<html>no video</html>" * 100)
        else:
            self.send_error(404)

    def _begin(self, kind: str, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length:
            self.send_header("Content-Length", str(length))
        self.end_headers()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    _Handler.video = write_video(tmp_path_factory.mktemp("video") / "a.mp4", 12).read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.released = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_video_by_http_is_the_same_as_its_file(address: str, tmp_path: Path) -> None:
    with open_source(f"{address}/video.mp4") as source:
        read = list(source)
        assert (source.frame_rate, source.frame_count, source.lost_frames) == (RATE, 12, 0)
    again = list(open_source(write_video(tmp_path / "a.mp4", 12)))
    assert [f.name for f in read] == [f.name for f in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(read, again))


@pytest.mark.parametrize(("path", "why"), [("/motion", ""), ("/stuck", "no answer in 0.5 s")])
def test_motion_jpeg_that_ends_or_stays_away_gives_what_came(
    address: str, path: str, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams, "_PATIENCE", 0.5)
    with caplog.at_level(logging.WARNING, "stremn"), open_source(address + path) as source:
        read = list(source)
    assert [f.index for f in read] == [0, 1, 2, 3, 4]
    assert all(np.abs(f.image.astype(int) - frame(f.index)).mean() < 6 for f in read)
    assert "ended after 5 frames" in caplog.text
    assert why in caplog.text


@pytest.mark.parametrize("path", ["/none", "/silent", "/page", "/cut"])
def test_what_is_no_video_is_told_in_one_line_without_the_password(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_PATIENCE", 0.5)
    told = f"{address}{path} cannot be opened ("
    with pytest.raises(StremnError, match="check that it is the address") as caught:
        open_source(address.replace("//", "//me:secret@") + path)
    assert str(caught.value).startswith(told)
    assert "secret" not in str(caught.value)


def test_nobody_at_the_address() -> None:
    with pytest.raises(
        StremnError, match=r"^rtsp://127.0.0.1:1/door cannot be opened \(Connection refused\)"
    ):
        open_source("rtsp://me:p@ss@127.0.0.1:1/door")


def test_passwords_are_of_addresses_only() -> None:
    assert without_password("https://a:b@c.d/e@f") == "https://c.d/e@f"
    assert without_password("videos/me@home.mp4") == "videos/me@home.mp4"


# A process of its own: PyAV holds the interpreter's lock while it waits for the other side of a connection.
_SENDER = """
import sys, time, av
with av.open(sys.argv[2]) as video:
    for _ in range(300):
        try:
            sent = av.open(sys.argv[1], "w", format="rtsp")
            stream = sent.add_stream_from_template(video.streams.video[0])
            sent.start_encoding()
            break
        except ConnectionRefusedError:  # until it listens
            time.sleep(0.1)
    for packet in video.demux():
        if packet.dts is not None:
            packet.stream = stream
            sent.mux(packet)
"""


def test_rtsp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sender connects to us here, which the reader of streams does not notice."""
    monkeypatch.setattr(streams, "_RTSP", {"listen_timeout": "60"})
    monkeypatch.setattr(streams, "_PATIENCE", 60)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as unused:
        url = f"rtsp://127.0.0.1:{unused.server_port}/door"
    command = [sys.executable, "-c", _SENDER, url, str(write_video(tmp_path / "a.mp4", 40))]
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as sender,
        open_source(url) as source,
    ):
        first = next(iter(source))
        sender.kill()
    assert np.abs(first.image.astype(int) - frame(0)).mean() < 12
