"""Streams as sources of frames, which are read once: cameras, through FFmpeg, and what a network sends."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import av
import av.error
from av.container import InputContainer

from stremn.errors import StremnError, one_line
from stremn.files.frames import Frame, FrameSource, log
from stremn.files.names import without_password
from stremn.files.videos import VIDEO_ERRORS, picture, picture_stream, stream_rate

__all__ = ["StreamSource", "open_camera", "open_url"]

_MOST_ERRORS = 50  # one after another
_PATIENCE = 10.0  # seconds for an answer, and for the next picture
_RTSP: dict[str, str] = {"rtsp_transport": "tcp"}  # over UDP pictures come damaged


class StreamSource(FrameSource):
    """The frames of a camera or a network stream until it ends or the caller stops; can be iterated once.

    Args:
        name: for messages.
        container: open; the source closes it.
        device: whether it is a camera, which does not end by itself.

    Raises:
        StremnError: if it gives no pictures.
    """

    def __init__(self, name: str, container: InputContainer, *, device: bool) -> None:
        super().__init__(name)
        self._container, self._device = container, device
        self._stream = picture_stream(container, name, device=device)
        self.frame_rate = stream_rate(self._stream)
        self.live = device or container.duration is None
        self.frame_count = self._stream.frames or None

    def _decode(self, start: int = 0) -> Iterator[Frame]:
        index = errors = 0
        while True:
            try:
                for packet in self._container.demux(self._stream):
                    for raw in packet.decode():
                        yield Frame(index, f"{index:05d}", picture(raw).pixels)
                        index += 1
                        errors = 0
                return
            except BlockingIOError:  # AVFoundation has no picture yet
                time.sleep(0.005)
            except av.error.EOFError:
                return
            except VIDEO_ERRORS as error:
                # A broken picture may come now and then; a camera that was unplugged gives no other.
                errors += 1
                if errors > _MOST_ERRORS or isinstance(error, (OSError, av.error.ExitError)):
                    if self._device or not index:
                        raise StremnError(f"{self.name} gives no more pictures: connect it again") from error
                    # Nothing tells a server that has finished from one that broke off.
                    log.warning("%s ended after %d frames (%s)", self.name, index, _why(error))
                    return
                self.lost_frames += 1
                index += 1

    def backward(self, last: int) -> Iterator[Frame]:
        """What a stream has shown is gone.

        Raises:
            StremnError: always.
        """
        raise StremnError(f"{self.name} cannot be read backward: record it to a file first")

    def close(self) -> None:
        """Give the device or connection back."""
        self._container.close()


def open_camera(number: int) -> StreamSource:
    """Open a camera of this machine, counted from 0.

    Raises:
        StremnError: if there is no such camera or it cannot be opened.
    """
    name = f"camera:{number}"
    device, kind, options = f"/dev/video{number}", "v4l2", dict[str, str]()
    if sys.platform == "darwin":
        device, kind, options = str(number), "avfoundation", {"framerate": "30"}
    elif sys.platform == "win32":
        device, kind = f"video={_windows_camera(number, name)}", "dshow"
    try:
        container = av.open(device, format=kind, options=options, metadata_errors="replace")
    except PermissionError as error:
        raise StremnError(f"{name} may not be used: give yourself access to {device}") from error
    except FileNotFoundError as error:
        raise StremnError(
            f"there is no {name} ({device} not found): connect one, or give a video file"
        ) from error
    except VIDEO_ERRORS as error:
        raise StremnError(
            f"{name} cannot be opened ({one_line(error)}): choose another camera, size or rate"
        ) from error
    return StreamSource(name, container, device=True)


def _windows_camera(number: int, name: str) -> str:
    """The name of a camera, by which alone DirectShow knows it."""
    listing = getattr(av, "enumerate_input_devices", None)
    devices = [d for d in listing("dshow") if "video" in d.media_types] if listing else []
    if number >= len(devices):
        raise StremnError(f"there is no {name}: connect one, or give a video file")
    return str(devices[number].name)


def open_url(url: str) -> StreamSource:
    """Open a video or stream by its address.

    Args:
        url: of HTTP(S) or RTSP(S), with user and password where they are needed, which no message shows.

    Raises:
        StremnError: if nobody answers in ten seconds, or what answers gives no pictures.
    """
    name = without_password(url)
    options = _RTSP if url.startswith("rtsp") else {}
    try:
        container: Any = av.open(url, options=options, metadata_errors="replace", timeout=_PATIENCE)
    except VIDEO_ERRORS as error:
        raise StremnError(
            f"{name} cannot be opened ({_why(error)}): check that it is the address of a video"
        ) from error
    return StreamSource(name, container, device=False)


def _why(error: Exception) -> str:
    """What went wrong, without the address, which may hold a password."""
    if isinstance(error, av.error.ExitError):
        return f"no answer in {_PATIENCE:g} s"
    return str(getattr(error, "strerror", None) or type(error).__name__)
