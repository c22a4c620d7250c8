"""Options that several commands share, each declared once."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.data import Video
    from stremn.metrics.prediction.frames import Lpips
    from stremn.models import Predictor
    from stremn.sessions import SegmentationSession
    from stremn.sessions.settings import PredictionSettings, SegmentationSettings
    from stremn.tables import TestClips

__all__ = [
    "PREDICTOR",
    "SEGMENTER",
    "CandidateEvery",
    "ClipOptions",
    "Data",
    "Device",
    "Long",
    "Model",
    "Models",
    "MultiScale",
    "Overwrite",
    "Policy",
    "PostProcess",
    "Precision",
    "Seed",
    "Seeds",
    "SegmentationOptions",
    "Sequences",
    "Size",
    "Slots",
    "Split",
    "TableFolder",
    "check_settings",
    "check_size",
    "check_writable",
    "chosen_sequences",
    "named",
    "one_root",
    "predictor_of",
    "refuse",
]

SEGMENTER, PREDICTOR = "stremn-lite", "stremn-predict-video"
"""The models that are used unless another one is named."""

MOST_PIXELS = 8192
"""A shorter side beyond it is a slip of the finger, and would ask for more memory than there is."""

Model = Annotated[str, typer.Option(help="Name of a model that ships with weights, or a weights file.")]
Policy = Annotated[
    str | None, typer.Option(help="Which template is replaced; default is the learned choice.")
]
Slots = Annotated[int | None, typer.Option(help="K, slots of memory per object, first and latest included.")]
Size = Annotated[
    int | None, typer.Option(help="Internal resolution, the shorter side in pixels; 0 is the video's own.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
CandidateEvery = Annotated[
    int | None, typer.Option(help="Every how many frames a template competes for a chosen slot.")
]
Seed = Annotated[int, typer.Option(help="Of the random policies.")]
MultiScale = Annotated[
    bool,
    typer.Option("--multi-scale", help="Average four scales and their mirror images; about 12 times slower."),
]
PostProcess = Annotated[
    bool, typer.Option("--postprocess", help="Remove parts of an object far from where it was before.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run's outputs.")]
Data = Annotated[
    list[str],
    typer.Argument(
        help="DAVIS-layout folder: JPEGImages and Annotations. For a prediction model: MNIST image file, "
        "Moving MNIST test file, kth:ROOT, human36m:ROOT, or videos and folders of them, PATH or PATH:NAMES."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Name of a model that ships with weights, or a weights file; table 5: label=FILE for each row.",
    ),
]
Split = Annotated[Path | None, typer.Option(help="File with one sequence name a line.")]
Sequences = Annotated[str | None, typer.Option(help="Only these, separated by commas.")]
Long = Annotated[
    int, typer.Option(min=0, help="Play each sequence forth and back until so many frames were shown.")
]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of each policy that draws random numbers.")]
TableFolder = Annotated[
    Path, typer.Option("--out", help="Folder for table, plots and results; goes on with what is in it.")
]


def one_root(data: list[str]) -> Path:
    """The data set of segmentation.

    Raises:
        StremnError: if several are given.
    """
    if len(data) > 1:
        raise StremnError(f"{data[1]} is one data set too many: a segmentation model takes one at a time")
    return Path(data[0])


def named(text: str | None) -> tuple[str, ...] | None:
    """The names of an option that are separated by commas, each once; ``None`` if it was not given.

    Raises:
        StremnError: if there is none.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise StremnError("--sequences names none: give names separated by commas")
    return names


def chosen_sequences(sequences: "list[Video]", names: str | None) -> "list[Video]":
    """Those that are named, in this order; all if none is.

    Raises:
        StremnError: if one is not there.
    """
    wanted, known = named(names), {sequence.name: sequence for sequence in sequences}
    if wanted is None:
        return sequences
    for name in wanted:
        if name not in known:
            raise StremnError(f"--sequences names '{name}', which the data set or split does not have")
    return [known[name] for name in wanted]


def check_settings(
    policy: str | None, slots: int | None, size: int | None, candidate_every: int | None
) -> None:
    """Refuse settings before weights are read.

    Raises:
        StremnError: naming the option at fault.
    """
    from stremn.memory import get_policy

    if policy is not None:
        get_policy(policy)
    if slots is not None and slots < 2:
        raise StremnError(f"--slots {slots} is too few: at least 2, for the first and for the latest frame")
    check_size(size)
    if candidate_every is not None and candidate_every < 1:
        raise StremnError(f"--candidate-every {candidate_every} is too few: give 1 for every frame, or more")


def check_size(size: int | None) -> None:
    """Refuse an internal resolution that cannot be meant.

    Raises:
        StremnError: naming the option.
    """
    if size is not None and not 0 <= size <= MOST_PIXELS:
        raise StremnError(
            f"--size {size} is not from 0 to {MOST_PIXELS}: give pixels of the shorter side, or 0 for the "
            "video's own"
        )


def check_writable(*files: Path | None) -> None:
    """Refuse output files in a folder that is not there, before hours of work and not after.

    Raises:
        StremnError: naming the file.
    """
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise StremnError(f"{file} cannot be written: make the folder {file.absolute().parent} first")


@dataclass(frozen=True)
class SegmentationOptions:
    """The model and the settings of a segmentation session."""

    model: Model = SEGMENTER
    policy: Policy = None
    slots: Slots = None
    size: Size = None
    device: Device = "auto"
    precision: Precision = "auto"
    candidate_every: CandidateEvery = None
    seed: Seed = 0
    multi_scale: MultiScale = False
    postprocess: PostProcess = False

    def settings(self) -> "SegmentationSettings":
        """Of the session."""
        from stremn.sessions import MULTI_SCALE, ONE_VIEW
        from stremn.sessions.settings import SegmentationSettings

        check_settings(self.policy, self.slots, self.size, self.candidate_every)
        return SegmentationSettings(
            policy=self.policy,
            slots=self.slots,
            size=self.size,
            device=self.device,
            precision=self.precision,
            candidate_every=self.candidate_every,
            seed=self.seed,
            views=MULTI_SCALE if self.multi_scale else ONE_VIEW,
            postprocess=self.postprocess,
        )

    def open(self) -> "SegmentationSession":
        """A session as it is asked for.

        Raises:
            StremnError: naming the option at fault; settings are refused before weights are read.
        """
        from stremn.sessions import SegmentationSession

        return SegmentationSession(self.model, self.settings())

    def describe(self, session: "SegmentationSession") -> dict[str, object]:
        """What ``summary.json`` and reports say of the model and the settings."""
        settings = session.settings
        return {
            "model": self.model,
            "policy": settings.policy,
            "slots": settings.slots,
            "candidate_every": settings.candidate_every,
            "certainty": settings.certainty,
            "size": settings.size,
            "device": str(session.runtime.device),
            "precision": str(session.runtime.dtype).removeprefix("torch."),
            "seed": settings.seed,
            "multi_scale": self.multi_scale,
            "postprocess": self.postprocess,
        }


@dataclass(frozen=True)
class ClipOptions:
    """What a prediction model observes and predicts; ``None`` is what the data set is measured by."""

    observe: Annotated[int | None, typer.Option(min=1, help="M, frames observed, of a prediction model.")] = (
        None
    )
    horizon: Annotated[int | None, typer.Option(min=1, help="N, frames predicted.")] = None
    clips: Annotated[int | None, typer.Option(min=1, help="How many; default all, or 1000 generated.")] = None
    digits: Annotated[
        str, typer.Option(help="First and last digit of an MNIST file to make clips of; no last one: all.")
    ] = "8000-"
    data_seed: Annotated[int, typer.Option(min=0, help="Of the clips that are generated.")] = 2
    gap: Annotated[
        int | None, typer.Option(min=1, help="Frames of a clip are so far apart in the video; default 1.")
    ] = None
    batch: Annotated[
        int, typer.Option(min=1, hidden=True, help="Of no effect: clips are predicted one by one.")
    ] = 10
    lpips: Annotated[
        Path | None, typer.Option(help="AlexNet weights of torchvision, for LPIPS, which is else left out.")
    ] = None

    def given(self) -> str | None:
        """An option that was given, if any was."""
        names = (f.name for f in fields(self) if getattr(self, f.name) != f.default)
        return next((f"--{name.replace('_', '-')}" for name in names), None)

    def settings(self, session: SegmentationOptions) -> "PredictionSettings":
        """Of the sessions; they compute at the size of the clips."""
        from stremn.sessions.settings import PredictionSettings

        return PredictionSettings(
            policy=session.policy,
            slots=session.slots,
            size=0,
            device=session.device,
            precision=session.precision,
            seed=session.seed,
        )

    def open(
        self, data: list[str], models: "Mapping[str, Predictor]", size: int | None, sequences: str | None
    ) -> "TestClips":
        """The clips that all of these models can see.

        Args:
            data: as it was given.
            models: by name, one or more.
            size: sides in pixels, as it was given.
            sequences: names of videos, as they were given.

        Raises:
            StremnError: naming what does not fit.
        """
        from stremn.tables.clips import Wanted, open_clips

        check_size(size)
        if size == 0:
            raise StremnError(
                "--size 0 is not possible with a prediction model: clips are squares of one size"
            )
        channels = {model.config.channels: name for name, model in models.items()}
        if len(channels) > 1:
            raise StremnError(
                f"'{channels[1]}' is for grey frames and '{channels[3]}' for colour: rows of one table see "
                "the same frames, give a table each"
            )
        wanted = Wanted(
            tuple(data),
            observe=self.observe,
            horizon=self.horizon,
            size=size,
            clips=self.clips,
            sequences=named(sequences),
            digits=_digits(self.digits),
            seed=self.data_seed,
            gap=self.gap,
        )
        test = open_clips(wanted, grey=1 in channels)
        for name, model in models.items():
            if test.protocol.size % model.stride:
                raise StremnError(
                    f"--size {test.protocol.size} is not divisible by {model.stride}, as '{name}' needs: "
                    "give a multiple of it"
                )
        return test

    def open_lpips(self, device: str) -> "Lpips | None":
        """The network of LPIPS, if it is asked for.

        Raises:
            StremnError: if the device is not there, or the weights cannot be read.
        """
        from stremn.metrics.prediction.frames import Lpips
        from stremn.runtime import Runtime

        return None if self.lpips is None else Lpips(self.lpips, device=Runtime.choose(device).device)


def predictor_of(model: str, clips: ClipOptions) -> "Predictor | None":
    """The prediction model of that name; ``None`` for a segmentation model, whose task it then is.

    Raises:
        StremnError: if prediction is asked for and this is no such model.
    """
    from stremn.models import PREDICTORS, Predictor, from_pretrained

    try:
        found = from_pretrained(model)
    except StremnError:
        if clips.given() or model in PREDICTORS:
            raise
        # Segmentation says so after it has looked at the data.
        return None
    if isinstance(found, Predictor):
        return found
    if option := clips.given():
        raise StremnError(f"{option} is of prediction, and '{model}' segments: leave it out, or give --model")
    return None


def refuse(what: str, **given: object) -> None:
    """Refuse options that do not go with this.

    Args:
        what: "a prediction model", "table 5".
        **given: values by name of the option.

    Raises:
        StremnError: naming the first that has a value.
    """
    for name, value in given.items():
        if value:
            raise StremnError(f"--{name.replace('_', '-')} cannot be given with {what}: leave it out")


def _digits(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d*)\s*", text)
    if not match or int(match[1]) > int(match[2] or match[1]):
        raise StremnError(f"--digits {text} is no range: give the first and the last one, as 8000-9999")
    return int(match[1]), int(match[2]) + 1 if match[2] else None
