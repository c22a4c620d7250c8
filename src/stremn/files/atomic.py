"""Files written beside their final name and renamed, so that only complete ones are ever seen."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from stremn.errors import StremnError

__all__ = ["part_name", "replacing", "write_error", "write_json", "write_png"]

# A file-size limit meets the user as a full disk does: the next byte has no place.
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def part_name(path: Path) -> Path:
    """The hidden name beside `path` under which its content is written until it is complete."""
    return path.with_name(f".{path.name}.part")


def write_error(path: Path, error: OSError) -> StremnError:
    """The user's view of a failed write to `path`: what happened and what to do about it."""
    if error.errno in _NO_SPACE:
        return StremnError(f"disk full while writing {path}: free some space, or choose another --out")
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return StremnError(f"cannot write {path} ({reason}): choose a folder that you may write to")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; on success it becomes `path`, on any failure it is removed.

    Raises StremnError in place of the OSErrors of writing: disk full, folder not writable.
    """
    part = part_name(path)
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error) from error
        raise


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all.

    Raises StremnError when the disk is full or the folder cannot be written to.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(Path(path)) as part:
        part.write_text(text, encoding="utf-8")


def write_png(path: str | Path, image: Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all.

    Raises StremnError when the disk is full or the folder cannot be written to.
    """
    with replacing(Path(path)) as part, open(part, "wb") as file:
        # Level 3 is the best size at the speed of level 1 on label maps.
        image.save(file, format="PNG", compress_level=3)
