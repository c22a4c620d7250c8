"""Files written beside their final name and renamed, so that only complete ones are ever seen."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from stremn.errors import StremnError, one_line

__all__ = ["part_name", "replacing", "write_error", "write_json", "write_png", "write_text"]

# A file-size limit meets the user as a full disk does: the next byte has no place.
_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_LONG_NAME = 100  # bytes; file systems allow 255, encrypting ones 143


def part_name(path: Path) -> Path:
    """The hidden name beside a path under which its content is written until it is complete.

    It is never longer than a long name, which may have all the bytes that the file system allows.
    """
    name = os.fsencode(path.name)
    shown = path.name if len(name) <= _LONG_NAME else hashlib.sha256(name).hexdigest()[:32]
    return path.with_name(f".{shown}.part")


def write_error(path: Path, error: Exception) -> StremnError:
    """The user's view of a failed write to ``path``: what happened and what to do about it."""
    number = getattr(error, "errno", None)
    if number in _NO_SPACE:
        return StremnError(f"disk full while writing {path}: free some space, or choose another folder")
    if number == errno.ENAMETOOLONG:
        return StremnError(f"cannot write {path} (the name is too long): choose a shorter one")
    if isinstance(error, OSError):
        reason = os.strerror(number) if number and number > 0 else one_line(error)
        return StremnError(f"cannot write {path} ({reason}): choose a folder that you may write to")
    return StremnError(f"cannot write {path} ({one_line(error)}): choose another size, rate or kind of file")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to; on success it becomes ``path``, on any failure it is removed.

    Raises:
        StremnError: in place of the errors of writing: disk full, folder not writable, what an encoder says.
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


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all; names of files that are no UTF-8 are written as escapes.

    In JSON these escapes give the same name back.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    with replacing(Path(path)) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, whole or not at all.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_png(path: str | Path, image: Image.Image) -> None:
    """Write a picture as a PNG file, whole or not at all.

    Raises:
        StremnError: if the disk is full or the folder cannot be written to.
    """
    with replacing(Path(path)) as part, open(part, "wb") as file:
        # Level 3 is the best size at the speed of level 1 on label maps.
        image.save(file, format="PNG", compress_level=3)
