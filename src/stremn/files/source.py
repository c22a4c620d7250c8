"""The door for all sources of frames: video file, folder, camera."""

import os
import re
from pathlib import Path

from stremn.errors import StremnError
from stremn.files.folders import FolderSource, PagesSource
from stremn.files.frames import FrameSource

__all__ = ["open_source"]


def open_source(
    source: str | Path,
    *,
    without: str | Path | None = None,
    camera_size: tuple[int, int] | None = None,
    camera_rate: int | None = None,
) -> FrameSource:
    """Open a video file, a folder of frames, or a camera (``camera:0``, or ``0``).

    Args:
        source: path, or camera name; a number is a camera unless a file of that name exists.
        without: a file that is no frame although it may lie in the folder of frames, such as the mask.
        camera_size: ``(h, w)`` in pixels to ask of the camera; its own choice when ``None``.
        camera_rate: frames per second to ask of the camera.

    Raises:
        StremnError: if the source is missing, empty, not a video, or holds no frames.
    """
    text = str(source)
    camera = re.fullmatch(r"(?:camera:)?([0-9]+)", text)
    path = Path(os.path.expanduser(text))
    there = os.path.exists(path)  # where pathlib would raise, for names that are too long
    if camera and not there:
        from stremn.files.cameras import open_camera

        return open_camera(int(camera[1]), size=camera_size, rate=camera_rate)
    if text.startswith("camera:") and not there:
        raise StremnError(f"{text} is not a camera: give its number, as in camera:0")
    if not text.strip() or not there:
        raise StremnError(
            f"source {text!r} does not exist: give a video file, a folder of frames, or camera:0"
        )
    try:
        if path.is_dir():
            return FolderSource(path, None if without is None else Path(os.path.expanduser(without)))
        if path.is_file() and PagesSource.reads(path):
            return PagesSource(path)
        from stremn.files.videos import VideoSource

        return VideoSource(path)
    except PermissionError as error:
        raise StremnError(f"cannot read {path}: permission denied, make it readable for you") from error
