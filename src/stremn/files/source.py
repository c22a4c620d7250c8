"""The door for all sources of frames: video file, folder, camera."""

import re
from pathlib import Path

from stremn.errors import StremnError
from stremn.files.folders import FolderSource
from stremn.files.frames import FrameSource

__all__ = ["open_source"]


def open_source(
    source: str | Path, *, camera_size: tuple[int, int] | None = None, camera_rate: int | None = None
) -> FrameSource:
    """Open a video file, a folder of frames, or a camera (`camera:0`, or `0`).

    Args:
        source: path, or camera name; a number is a camera unless a file of that name exists.
        camera_size: (h, w) in pixels to ask of the camera; its own choice when None.
        camera_rate: frames per second to ask of the camera.

    Raises StremnError when the source is missing, empty, not a video, or holds no frames.
    """
    text = str(source)
    camera = re.fullmatch(r"(?:camera:)?([0-9]+)", text)
    path = Path(source).expanduser()
    if camera and not path.exists():
        from stremn.files.cameras import open_camera

        return open_camera(int(camera[1]), size=camera_size, rate=camera_rate)
    if text.startswith("camera:"):
        raise StremnError(f"{text} is not a camera: give its number, as in camera:0")
    if not text.strip() or not path.exists():
        raise StremnError(
            f"source {text!r} does not exist: give a video file, a folder of frames, or camera:0"
        )
    try:
        if path.is_dir():
            return FolderSource(path)
        from stremn.files.videos import VideoSource

        return VideoSource(path)
    except PermissionError as error:
        raise StremnError(f"cannot read {path}: permission denied, make it readable for you") from error
