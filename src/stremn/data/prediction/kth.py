"""The KTH actions (Schuldt, Laptev, Caputo: "Recognizing human actions: a local SVM approach", ICPR 2004)."""

import re
from collections.abc import Iterable
from pathlib import Path

from stremn.data.prediction.random_access import ImageReel, Reel
from stremn.data.prediction.video_files import VideoReel
from stremn.errors import StremnError
from stremn.files.names import image_files

__all__ = ["KTH_ACTIONS", "KTH_SPLITS", "kth_stride", "read_kth"]

KTH_ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
KTH_SPLITS = {"train": range(1, 17), "test": range(17, 26)}
"""Persons of the split of Sec. 4.2."""

_VIDEO = re.compile(r"person(\d\d)_([a-z]+)_d(\d)(?:_uncomp)?", re.IGNORECASE)
_LISTED = re.compile(r"\s*(person\d\d_[a-z]+_d\d)\s+frames\s+([\d\s,-]+)", re.IGNORECASE)
_QUICK = {"jogging", "running"}


def read_kth(root: Path | str, split: str = "train", *, actions: Iterable[str] = KTH_ACTIONS) -> list[Reel]:
    """The videos of one split, to be read with ``grey`` and ``squash`` at 128 pixels, 10 → 20 frames.

    Read are ``boxing/person01_boxing_d1_uncomp.avi`` and the like, or all files in one folder; folders of
    frames ``boxing/person01_boxing_d1_uncomp/image_0001.jpg`` (where numbers skip, a new range begins); and
    beside them ``00sequences.txt``, which tells in which frames there is a person: clips are cut from these.
    Ranges that follow each other count as one.

    Args:
        root: the folder of the set.
        split: ``train`` (persons 1-16) or ``test`` (17-25).
        actions: some of ``KTH_ACTIONS``.

    Raises:
        StremnError: if a person of the split has no video, or the list of frames cannot be read.
    """
    root, wanted = Path(root), set(actions)
    if split not in KTH_SPLITS:
        raise StremnError(f"KTH has no split '{split}': choose one of {', '.join(KTH_SPLITS)}")
    if not root.is_dir():
        raise StremnError(f"{root}: is no folder; give the folder that holds the KTH videos")
    listed = _read_list(root / "00sequences.txt")
    reels: list[Reel] = []
    seen: set[int] = set()
    for path in sorted(p for pattern in ("*", "*/*") for p in root.glob(pattern)):
        match = _VIDEO.fullmatch(path.stem)
        if not match or match[2].lower() not in wanted or int(match[1]) not in KTH_SPLITS[split]:
            continue
        name = f"person{match[1]}_{match[2].lower()}_d{match[3]}"
        if path.is_dir():
            reels += _image_reel(name, path)
        elif path.suffix.lower() == ".avi":
            reels.append(VideoReel(path, name, listed.get(name)))
        else:
            continue
        seen.add(int(match[1]))
    if missing := [person for person in KTH_SPLITS[split] if person not in seen]:
        some = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise StremnError(
            f"{root}: lacks the videos of {len(missing)} of {len(KTH_SPLITS[split])} persons of '{split}' "
            f"({some}); unpack all of KTH there, as in boxing/person01_boxing_d1_uncomp.avi"
        )
    return reels


def kth_stride(reel: Reel, frames: int = 30) -> int:
    """Frames between the starts of test clips: 3 where people run or jog past, else end to end.

    As in the published evaluation (google/e3d_lstm, ``kth_action.py``), which aligns clips with the ends of
    ranges, while ours begin at their starts.
    """
    return 3 if reel.name.split("_")[1] in _QUICK else frames


def _image_reel(name: str, folder: Path) -> list[Reel]:
    files = image_files(folder)
    if not files:
        return []
    numbers = [int((re.findall(r"\d+", file.stem) or ["0"])[-1]) for file in files]
    breaks = [i for i in range(1, len(files)) if numbers[i] != numbers[i - 1] + 1]
    return [ImageReel(name, files, list(zip([0, *breaks], [*breaks, len(files)], strict=True)))]


def _read_list(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Ranges [first, end) from 0 by name of video; the file counts from 1 and includes the last frame."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise StremnError(f"{path}: cannot be read; make it readable or remove it") from error
    found = {}
    for match in filter(None, map(_LISTED.match, lines)):
        ranges = [(int(a) - 1, int(b)) for a, b in re.findall(r"(\d+)\s*-\s*(\d+)", match[2])]
        found[match[1].lower()] = _join(ranges)
    if not found:
        raise StremnError(f"{path}: lists no frames of a video; download it again or remove it")
    return found


def _join(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((first, end))
    return joined
