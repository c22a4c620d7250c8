"""A camera as a source of frames, through FFmpeg's capture devices."""

import sys
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import av.error

from stremn.errors import StremnError, one_line
from stremn.files.frames import Frame, FrameSource
from stremn.files.videos import VIDEO_ERRORS, picture, picture_stream

__all__ = ["CameraSource", "open_camera"]

_MOST_ERRORS = 50  # one after another


class CameraSource(FrameSource):
    """The frames of a capture device until it ends or the caller stops; can be iterated once.

    Args:
        name: short name for messages.
        device: what FFmpeg calls the device, such as ``/dev/video0``.
        device_format: FFmpeg's input format: v4l2, avfoundation, dshow.
        options: FFmpeg options, such as ``video_size`` and ``framerate``.

    Raises:
        StremnError: if the device cannot be opened, or gives no pictures.
    """

    def __init__(self, name: str, device: str, device_format: str, options: dict[str, str]) -> None:
        super().__init__(name)
        try:
            self._container = av.open(
                device, format=device_format, options=options, metadata_errors="replace"
            )
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
        self._stream = picture_stream(self._container, name, device=True)
        rate = self._stream.average_rate
        self.frame_rate = Fraction(rate) if rate else None

    def _decode(self) -> Iterator[Frame]:
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
                # A broken picture may come now and then over USB; a camera that was unplugged gives no other.
                errors += 1
                if errors > _MOST_ERRORS or isinstance(error, OSError):
                    raise StremnError(f"{self.name} gives no more pictures: connect it again") from error
                self.lost_frames += 1
                index += 1

    def close(self) -> None:
        """Give the device back."""
        self._container.close()


def open_camera(number: int, *, size: tuple[int, int] | None, rate: int | None) -> CameraSource:
    """Open a camera of this machine.

    Args:
        number: from 0.
        size: ``(h, w)`` in pixels to ask for; its own choice when ``None``.
        rate: frames per second to ask for.

    Raises:
        StremnError: if there is no such camera or it cannot be opened.
    """
    name = f"camera:{number}"
    options: dict[str, str] = {}
    if size:
        options["video_size"] = f"{size[1]}x{size[0]}"
    if rate:
        options["framerate"] = str(rate)
    if sys.platform == "darwin":
        return CameraSource(name, str(number), "avfoundation", {"framerate": "30", **options})
    if sys.platform == "win32":
        return CameraSource(name, f"video={_windows_camera(number, name)}", "dshow", options)
    return CameraSource(name, f"/dev/video{number}", "v4l2", options)


def _windows_camera(number: int, name: str) -> str:
    """The name of a camera, by which alone DirectShow knows it."""
    listing = getattr(av, "enumerate_input_devices", None)
    devices = [d for d in listing("dshow") if "video" in d.media_types] if listing else []
    if number >= len(devices):
        raise StremnError(f"there is no {name}: connect one, or give a video file")
    return str(devices[number].name)
