"""Data sets of human actions, in the splits of Sec. 4.2: KTH and Human3.6M."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from stremn.data.prediction.reels import ImageReel, Reel, VideoReel
from stremn.errors import StremnError
from stremn.files.names import VIDEO_SUFFIXES, image_files, natural_key, some_of

__all__ = ["KTH_ACTIONS", "kth_stride", "person_of", "read_human36m", "read_kth"]

KTH_ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")

_KTH_PERSONS = {"train": range(1, 17), "test": range(17, 26)}
_VIDEO = re.compile(r"person(\d\d)_([a-z]+)_d(\d)(?:_uncomp)?", re.IGNORECASE)
_LISTED = re.compile(r"\s*(person\d\d_[a-z]+_d\d)\s+frames\s+([\d\s,-]+)", re.IGNORECASE)
_QUICK = {"jogging", "running"}


def read_kth(root: Path | str, split: str = "train", *, actions: Iterable[str] = KTH_ACTIONS) -> list[Reel]:
    """The videos of KTH (Schuldt et al., ICPR 2004): ``grey``, ``squash``, 128 pixels, 10 → 20 frames.

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
    persons = _people(root, split, _KTH_PERSONS, "KTH", "the KTH videos")
    listed = _read_list(root / "00sequences.txt")
    reels: list[Reel] = []
    seen: set[int] = set()
    for path in sorted(p for pattern in ("*", "*/*") for p in root.glob(pattern)):
        match = _VIDEO.fullmatch(path.stem)
        if not match or match[2].lower() not in wanted or int(match[1]) not in persons:
            continue
        name = f"person{match[1]}_{match[2].lower()}_d{match[3]}"
        if path.is_dir():
            reels += _image_reel(name, path)
        elif path.suffix.lower() == ".avi":
            reels.append(VideoReel(path, name, listed.get(name)))
        else:
            continue
        seen.add(int(match[1]))
    if missing := [str(person) for person in persons if person not in seen]:
        raise StremnError(
            f"{root}: lacks the videos of {len(missing)} of {len(persons)} persons of '{split}' "
            f"({some_of(missing, 5)}); unpack all of KTH there, as in boxing/person01_boxing_d1_uncomp.avi"
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


_HUMAN36M_SUBJECTS = {"train": (1, 5, 6, 7, 8), "test": (9, 11)}
# "Walking", "Walking 1", "Walking-1", but not "WalkingDog" or "WalkTogether"; then perhaps the camera.
_WALKING = re.compile(r"walking(?:[ _-]?\d)?(?:\.\d+)?", re.IGNORECASE)
_PERSON = re.compile(r"person\d\d(?=_[a-z]+_d\d)|S\d+(?=[/_].*walking)", re.IGNORECASE)
_FLAT = re.compile(r"(S\d+_walking(?:[ _-]?\d)?\.\d+)_(\d+)", re.IGNORECASE)


def read_human36m(root: Path | str, split: str = "train") -> list[Reel]:
    """The walking videos of Human3.6M (Ionescu et al., TPAMI 2014): ``squash``, 128 pixels, 4 → 4 frames.

    Read are, for each subject, the videos as they are distributed (``S1/Videos/Walking 1.54138969.mp4``, or
    elsewhere below ``S1``); folders of frames (``S1/Walking.54138969/000001.jpg``, or one for the camera in
    that of the action: ``S1/Walking-1/imageSequence/54138969/img_000001.jpg``); and all frames in one
    folder or in ``images`` (``S1_Walking.54138969_000001.jpg``). The videos have 50 frames a second, of
    which the OpenSTL benchmark takes every fifth: that is the ``gap`` of the clips.

    Args:
        root: the folder of the set.
        split: ``train`` (S1, S5-S8) or ``test`` (S9, S11).

    Raises:
        StremnError: if a subject of the split has no walking video.
    """
    root = Path(root)
    subjects = _people(root, split, _HUMAN36M_SUBJECTS, "Human3.6M", "S1, S5, …")
    flat = _flat(root if not (root / "images").is_dir() else root / "images")
    reels: list[Reel] = []
    missing = []
    for subject in subjects:
        found = flat.get(f"S{subject}", []) + _of_subject(root / f"S{subject}")
        if not found:
            missing.append(f"S{subject}")
        reels += sorted(found, key=lambda reel: natural_key(reel.name))
    if missing:
        raise StremnError(
            f"{root}: lacks walking videos of {', '.join(missing)}; unpack them as in "
            "S1/Videos/Walking.54138969.mp4"
        )
    return reels


def person_of(reel: Reel) -> str:
    """Who acts in a video of KTH (``person16``) or of Human3.6M (``S8``); empty for other videos."""
    match = _PERSON.match(reel.name)
    return match[0] if match else ""


def _of_subject(folder: Path) -> list[Reel]:
    if not folder.is_dir():
        return []
    reels: list[Reel] = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        name = f"{folder.name}/{below.with_suffix('') if path.is_file() else below}"
        if path.is_dir():
            walking = any(_WALKING.fullmatch(part) for part in below.parts)
            if walking and (files := image_files(path)):
                reels.append(ImageReel(name, files))
        elif path.suffix.lower() in VIDEO_SUFFIXES and _WALKING.fullmatch(path.stem):
            reels.append(VideoReel(path, name))
    return reels


def _flat(folder: Path) -> dict[str, list[Reel]]:
    """By subject, the videos whose frames all lie in one folder."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for file in image_files(folder):
        if match := _FLAT.fullmatch(file.stem):
            groups[match[1]].append(file)
    found: dict[str, list[Reel]] = defaultdict(list)
    for name, files in groups.items():
        found[name.split("_")[0].upper()].append(ImageReel(name, files))
    return found


def _people(
    root: Path, split: str, splits: Mapping[str, Sequence[int]], name: str, holds: str
) -> Sequence[int]:
    if split not in splits:
        raise StremnError(f"{name} has no split '{split}': choose one of {', '.join(splits)}")
    if not root.is_dir():
        raise StremnError(f"{root}: is no folder; give the folder that holds {holds}")
    return splits[split]
