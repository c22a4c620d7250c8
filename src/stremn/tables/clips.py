"""The clips that a prediction table is measured on: which they are, and how each data set is measured."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from stremn.data import (
    ClipRequest,
    FrameClip,
    FrameWindows,
    MemoryClips,
    MovingMnist,
    MovingMnistFile,
    kth_stride,
    read_digits,
)
from stremn.data.prediction.any_videos import kind_of, open_reels
from stremn.data.prediction.recall import RECALLED
from stremn.data.prediction.reels import VideoReel
from stremn.errors import StremnError
from stremn.files.names import image_files, some_of
from stremn.metrics.prediction.frames import CONVENTIONS
from stremn.tables.store import digest_of

__all__ = ["PROTOCOLS", "Protocol", "TestClips", "Wanted", "open_clips"]

GENERATED = {"moving-mnist": 1000, "memory": 99}
"""Clips that are generated where no number is given."""


@dataclass(frozen=True)
class Protocol:
    """How a data set is measured unless told otherwise.

    Attributes:
        observe: M, frames given.
        horizon: N, frames predicted.
        size: sides of the clips in pixels.
        grey: one channel; ``None`` where the models decide.
        squash: scale both sides to ``size``, else crop the longer one.
        conventions: of the figures, by name (``stremn.metrics.prediction.frames``).
    """

    observe: int
    horizon: int
    size: int
    grey: bool | None = None
    squash: bool = False
    conventions: tuple[str, ...] = ()


PROTOCOLS = {
    "moving-mnist": Protocol(10, 10, 64, grey=True),
    "moving-mnist-file": Protocol(10, 10, 64, grey=True),
    "kth": Protocol(10, 20, 128, grey=True, squash=True, conventions=tuple(CONVENTIONS)),
    "human36m": Protocol(4, 4, 128, squash=True),
    "memory": Protocol(30, 10, 64),
    "videos": Protocol(5, 10, 128),
}
"""By kind of data; KTH and Human3.6M as in Sec. 4.2."""

_MEMORY = "memory:"

_DIGITS = (b"\x1f\x8b", b"\0\0\x08\x03")  # a gzipped file, and an idx file of images

HUMAN36M_GAP = 5
"""Of its videos as they are distributed every fifth frame counts."""


@dataclass(frozen=True)
class Wanted:
    """What is asked of the data; ``None`` is the data set's own.

    Attributes:
        data: entries as :func:`open_clips` takes them.
        observe: M.
        horizon: N.
        size: sides in pixels.
        clips: how many; ``None`` is all there are, or 1000 where they are generated.
        sequences: names of the videos to take; ``None`` for all.
        digits: first digit of an MNIST file, and the first that is not taken any more, ``None`` for none.
        seed: of generated clips.
        gap: frames of a clip are this far apart in the video.
    """

    data: tuple[str, ...]
    observe: int | None = None
    horizon: int | None = None
    size: int | None = None
    clips: int | None = None
    sequences: tuple[str, ...] | None = None
    digits: tuple[int, int | None] = (8000, None)
    seed: int = 2
    gap: int | None = None


@dataclass(frozen=True)
class TestClips:
    """Fixed clips to predict: the clips of some numbers in a source.

    Attributes:
        kind: of :data:`PROTOCOLS`.
        protocol: with what was asked for filled in.
        facts: what makes the clips these, as JSON values.
        note: the same in a sentence.
    """

    __test__ = False  # not one of pytest's

    kind: str
    protocol: Protocol
    facts: dict[str, Any]
    note: str
    source: Dataset[FrameClip] = field(repr=False)
    numbers: tuple[int, ...] = field(repr=False)

    @property
    def frames(self) -> int:
        """T of a clip, observed and predicted."""
        return self.protocol.observe + self.protocol.horizon

    @property
    def usual(self) -> bool:
        """Whether lengths and size are those that this kind of data is measured by."""
        own, ours = PROTOCOLS[self.kind], self.protocol
        return (own.observe, own.horizon, own.size) == (ours.observe, ours.horizon, ours.size)

    def read(self, number: int) -> np.ndarray:
        """A clip as a video: frames ``(T, h, w, 3)``, or ``(T, h, w)`` where they are grey, uint8.

        Raises:
            StremnError: if a file is damaged.
        """
        frames = self.source[ClipRequest(number, self.frames, self.protocol.size)].frames
        pixels = (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return pixels[..., 0] if self.protocol.grey else pixels


def open_clips(wanted: Wanted, *, grey: bool) -> TestClips:
    """The clips of a test.

    Args:
        wanted: ``data`` is an MNIST image file, from whose digits clips are generated; the public Moving
            MNIST test file ``.npy``; ``memory:SEED`` for :class:`~stremn.data.MemoryClips`, of which
            ``sequences`` names kinds; or one or more entries (:func:`open_reels`), of which the test split is
            taken where there is one.
        grey: what the models see, where the data set leaves it open.

    Raises:
        StremnError: if data is missing or cannot be had as it is wanted.
    """
    kind = _kind(wanted.data)
    known = PROTOCOLS[kind]
    if known.grey and not grey:
        raise StremnError(
            f"{wanted.data[0]} is grey and the model is for colour: give a model for grey frames"
        )
    protocol = replace(
        known,
        observe=wanted.observe or known.observe,
        horizon=wanted.horizon or known.horizon,
        size=wanted.size or known.size,
        grey=grey,
    )
    makers = {"moving-mnist": _generated, "moving-mnist-file": _public, "memory": _remembered}
    make = makers.get(kind, _videos)
    source, numbers, facts, note = make(wanted, kind, protocol)
    shape = f"{protocol.size}x{protocol.size}, {'grey' if grey else 'colour'}"
    note = f"{note}, {len(numbers)} clips of {shape}, {protocol.observe} frames to {protocol.horizon}"
    facts |= asdict(protocol) | {"kind": kind, "data": [_resolved(entry) for entry in wanted.data]}
    facts["files"] = digest_of(_files(source, wanted))
    return TestClips(kind, protocol, facts, note, source, tuple(numbers))


def _kind(data: tuple[str, ...]) -> str:
    kinds = {_kind_of(entry) for entry in data}
    if len(kinds) > 1 or (len(data) > 1 and kinds != {"videos"}):
        raise StremnError(f"{' and '.join(data)} are measured differently: give a table each")
    return kinds.pop()


def _kind_of(entry: str) -> str:
    if kind := kind_of(entry):
        return kind
    path = Path(entry)
    if entry.startswith(_MEMORY) and not path.exists():
        return "memory"
    if path.suffix == ".npy" and path.is_file():
        try:
            return "moving-mnist-file" if np.load(path, mmap_mode="r").ndim == 4 else "moving-mnist"
        except (OSError, ValueError, EOFError) as error:
            raise StremnError(f"{path}: not a readable .npy file; download it again") from error
    if path.suffix == ".npz":
        return "moving-mnist"
    with suppress(OSError), path.open("rb") as file:
        if file.read(4).startswith(_DIGITS):
            return "moving-mnist"
    return "videos"


def _resolved(entry: str) -> str:
    kind = kind_of(entry)
    if _kind_of(entry) == "memory":
        return entry
    path = Path(entry.removeprefix(f"{kind}:")).resolve()
    return f"{kind}:{path}" if kind else str(path)


def _files(source: Dataset[FrameClip], wanted: Wanted) -> list[Path]:
    """What the clips are cut from, or made of."""
    if not isinstance(source, FrameWindows):
        return [Path(entry) for entry in wanted.data]
    reels = dict.fromkeys(reel.path for reel, _ in source.windows)
    return [file for path in reels for file in (image_files(path) if path.is_dir() else [path])]


Found = tuple[Dataset[FrameClip], Sequence[int], dict[str, Any], str]
"""A source, the numbers of the clips to take, and what :class:`TestClips` has of facts and note."""


def _generated(wanted: Wanted, kind: str, protocol: Protocol) -> Found:
    _without_videos(wanted)
    digits, first = read_digits(wanted.data[0], *wanted.digits), wanted.digits[0]
    end, side = first + len(digits), max(digits.shape[1:])
    if protocol.size < side:
        raise StremnError(
            f"{wanted.data[0]}: clips of {protocol.size} pixels are smaller than a digit; "
            f"give a size of {side} or more"
        )
    numbers = range(GENERATED[kind] if wanted.clips is None else wanted.clips)
    note = f"Moving MNIST generated from digits {first} to {end - 1} of {Path(wanted.data[0]).name}"
    facts = {"digits": [first, end], "seed": wanted.seed}
    return MovingMnist(digits, seed=wanted.seed), numbers, facts, f"{note} with seed {wanted.seed}"


def _public(wanted: Wanted, kind: str, protocol: Protocol) -> Found:
    _without_videos(wanted)
    source = MovingMnistFile(wanted.data[0])
    if protocol.observe + protocol.horizon > 20 or protocol.size != 64:
        raise StremnError(
            f"{wanted.data[0]}: has 20 frames of 64 pixels; observe and predict 20 in all, and give no size"
        )
    note = f"Moving MNIST test file {source.path.name}"
    return source, range(_count(wanted, len(source))), {"sequences": len(source)}, note


def _remembered(wanted: Wanted, kind: str, protocol: Protocol) -> Found:
    seed, names = wanted.data[0].removeprefix(_MEMORY), wanted.sequences or tuple(RECALLED)
    if not seed.isdecimal():
        raise StremnError(f"{wanted.data[0]}: has no seed; give a number after the colon, as memory:2")
    _without_gap(wanted)
    _check_names(names, [*RECALLED])
    count = GENERATED[kind] if wanted.clips is None else wanted.clips
    # A clip has the same number whatever else is taken.
    numbers = [number for number in range(count * len(RECALLED)) if MemoryClips.name(number) in names][:count]
    note = f"generated to be remembered with seed {seed} ({', '.join(names)})"
    return MemoryClips(int(seed), grey=bool(protocol.grey)), numbers, {}, note


def _videos(wanted: Wanted, kind: str, protocol: Protocol) -> Found:
    reels = [reel for entry in wanted.data for reel in open_reels(entry, "test")]
    if wanted.sequences is not None:
        _check_names(wanted.sequences, sorted({reel.name for reel in reels}))
        reels = [reel for reel in reels if reel.name in wanted.sequences]
    gap = wanted.gap
    if gap is None:
        distributed = kind == "human36m" and any(isinstance(reel, VideoReel) for reel in reels)
        gap = HUMAN36M_GAP if distributed else 1
    source = FrameWindows(
        reels,
        frames=protocol.observe + protocol.horizon,
        size=protocol.size,
        grey=bool(protocol.grey),
        squash=protocol.squash,
        gap=gap,
        stride=kth_stride if kind == "kth" else None,
    )
    spread = np.linspace(0, len(source) - 1, _count(wanted, len(source))).round().astype(int)
    videos = list(dict.fromkeys(reel.name for reel, _ in source.windows))
    facts = {"videos": [[reel.name, reel.count] for reel in reels], "gap": gap}
    named = f" ({', '.join(videos)})" if len(videos) <= 8 else ""
    where = ", ".join(Path(entry.partition(":")[0] or entry).name for entry in wanted.data)
    name = {"kth": "KTH test split", "human36m": "Human3.6M walking, S9 and S11"}.get(kind, where)
    every = f", one in {gap} frames" if gap > 1 else ""
    return source, spread.tolist(), facts, f"{name}: {len(videos)} videos{named}{every}"


def _without_videos(wanted: Wanted) -> None:
    if wanted.sequences is not None:
        raise StremnError(f"{wanted.data[0]} has no videos to choose by name: name no sequences")
    _without_gap(wanted)


def _without_gap(wanted: Wanted) -> None:
    if wanted.gap is not None:
        raise StremnError(f"{wanted.data[0]} has no videos whose frames could lie apart: give no gap")


def _check_names(names: Sequence[str], known: list[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise StremnError(
            f"there is no sequence '{unknown[0]}' in the data set or split: choose from {some_of(known, 8)}"
        )


def _count(wanted: Wanted, there: int) -> int:
    if wanted.clips is not None and wanted.clips > there:
        raise StremnError(f"{wanted.data[0]} has {there} clips, not {wanted.clips}: ask for fewer")
    return there if wanted.clips is None else wanted.clips
