"""A camera as a source of frames, through FFmpeg's capture devices."""

import sys
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import av.error

from stremn.errors import StremnError
from stremn.files.frames import Frame, FrameSource
from stremn.files.pictures import picture

__all__ = ["CameraSource", "open_camera"]


class CameraSource(FrameSource):
    """The frames of a capture device until it ends or the caller stops; can be iterated once.

    Args:
        name: short name for messages.
        device: what FFmpeg calls the device, such as `/dev/video0`.
        device_format: FFmpeg's input format: v4l2, avfoundation, dshow.
        options: FFmpeg options, such as `video_size` and `framerate`.

    Raises StremnError when the device cannot be opened.
    """

    def __init__(self, name: str, device: str, device_format: str, options: dict[str, str]) -> None:
        """Open the device."""
        super().__init__(name)
        try:
            self._container = av.open(device, format=device_format, options=options)
        except PermissionError as error:
            raise StremnError(f"{name} may not be used: give yourself access to {device}") from error
        except FileNotFoundError as error:
            raise StremnError(
                f"there is no {name} ({device} not found): connect one, or give a video file"
            ) from error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise StremnError(
                f"{name} cannot be opened ({error}): choose another camera, size or rate"
            ) from error
        if not self._container.streams.video:
            self.close()
            raise StremnError(f"{name} gives no pictures: choose another camera, or give a video file")
        rate = self._container.streams.video[0].average_rate
        self.frame_rate = Fraction(rate) if rate else None

    def _decode(self) -> Iterator[Frame]:
        stream = self._container.streams.video[0]
        index = 0
        while True:
            try:
                for packet in self._container.demux(stream):
                    for raw in packet.decode():
                        yield Frame(index, f"{index:05d}", picture(raw))
                        index += 1
                return
            except BlockingIOError:  # AVFoundation has no picture yet
                time.sleep(0.005)
            except av.error.InvalidDataError:  # a broken picture over USB
                self.lost_frames += 1
                index += 1
            except av.error.EOFError:
                return

    def close(self) -> None:
        """Give the device back."""
        self._container.close()


def open_camera(number: int, *, size: tuple[int, int] | None, rate: int | None) -> CameraSource:
    """Open camera `number` of this machine, asking for `size` (h, w) and `rate` frames per second.

    Raises StremnError when there is no such camera or it cannot be opened.
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
    """DirectShow knows cameras by name only."""
    listing = getattr(av, "enumerate_input_devices", None)
    devices = [d for d in listing("dshow") if "video" in d.media_types] if listing else []
    if number >= len(devices):
        raise StremnError(f"there is no {name}: connect one, or give a video file")
    return str(devices[number].name)
