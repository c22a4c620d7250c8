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
    from stremn.exports import Exports
    from stremn.files import FrameSource
    from stremn.models import Predictor
    from stremn.sessions import OnnxSession, PredictionSession, SegmentationSession
    from stremn.sessions.settings import PredictionSettings, SegmentationSettings
    from stremn.tables import TestClips
    from stremn.tables.prediction import ClipsPart

__all__ = [
    "EXPORT_NAMES",
    "PREDICTOR",
    "SEGMENTER",
    "ClipOptions",
    "DataOptions",
    "ExportOptions",
    "Overwrite",
    "SessionOptions",
    "Source",
    "check_new",
    "check_records",
    "check_writable",
    "listed",
    "predictor_of",
    "refuse",
]

SEGMENTER, PREDICTOR = "stremn-lite", "stremn-motion"
"""The models that are used unless another one is named."""

EXPORT_NAMES = (
    *("coco", "ytvis", "mots", "datumaro", "cvat", "labelme", "yolo"),
    *("alpha", "prores", "vp9", "cutout", "gif"),
)
"""Of all exports, for help that comes without what they import."""

MOST_PIXELS = 8192
"""A shorter side beyond it is a slip of the finger, and would ask for more memory than there is."""

Source = Annotated[str, typer.Argument(help="Video file, folder of frames, http or rtsp URL, or camera:0.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run's outputs.")]


def check_writable(*files: Path | None) -> None:
    """Refuse output files that cannot be written, before hours of work and not after.

    Raises:
        StremnError: naming the file.
    """
    for file in filter(None, files):
        if not file.absolute().parent.is_dir():
            raise StremnError(f"{file} cannot be written: make the folder {file.absolute().parent} first")
        if file.is_dir():
            raise StremnError(f"{file} cannot be written: it is a folder, give a file")


def check_records(*files: Path | None) -> None:
    """The same for tables and records: they replace earlier ones, but no weights, picture or list.

    Raises:
        StremnError: naming the file.
    """
    check_writable(*files)
    for file in filter(None, files):
        if file.exists() and file.suffix.lower() not in (".json", ".csv"):
            raise StremnError(
                f"{file} is there already: remove it, or give a name that ends in .json or .csv"
            )


def check_new(file: Path, suffix: str, overwrite: bool) -> None:
    """Refuse a file to write that has another suffix, or is there and not to be replaced.

    Raises:
        StremnError: naming the file.
    """
    if file.suffix != suffix:
        raise StremnError(f"{file} is not named {suffix}: give it that ending")
    if file.exists() and not overwrite:
        raise StremnError(f"{file} is there already: give --overwrite to replace it")
    check_writable(file)


@dataclass(frozen=True)
class SessionOptions:
    """The model and the settings of a session of either task; commands leave out what they have not.

    Raises:
        StremnError: naming the option at fault, before weights are read.
    """

    model: Annotated[
        str, typer.Option(help="Name of a model that ships with weights, or a weights file.")
    ] = SEGMENTER
    policy: Annotated[
        str | None, typer.Option(help="Which template is replaced; default is the learned choice.")
    ] = None
    slots: Annotated[
        int | None,
        typer.Option(help="K, slots of memory; of segmentation per object, first and latest included."),
    ] = None
    size: Annotated[
        int | None,
        typer.Option(help="Internal resolution, the shorter side in pixels; 0 is the video's own."),
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto"
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto"
    candidate_every: Annotated[
        int | None, typer.Option(help="Every how many frames a template competes for a chosen slot.")
    ] = None
    seed: Annotated[int, typer.Option(help="Of the random policies.")] = 0
    multi_scale: Annotated[
        bool,
        typer.Option(
            "--multi-scale", help="Average four scales and their mirror images; about 12 times slower."
        ),
    ] = False
    postprocess: Annotated[
        bool | None,
        typer.Option(
            "--postprocess/--no-postprocess",
            help="Remove parts of an object far from where it was before; default in tables alone.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; how few slots there may be, the task decides."""
        if self.policy is not None:
            from stremn.memory import get_policy

            get_policy(self.policy)
        if self.size is not None and not 0 <= self.size <= MOST_PIXELS:
            raise StremnError(
                f"--size {self.size} is not from 0 to {MOST_PIXELS}: give pixels of the shorter side, or 0 "
                "for the video's own"
            )
        if self.candidate_every is not None and self.candidate_every < 1:
            raise StremnError(
                f"--candidate-every {self.candidate_every} is too few: give 1 for every frame, or more"
            )

    def segmentation(self) -> "SegmentationSettings":
        """Settings of a segmentation session.

        Raises:
            StremnError: if there are too few slots.
        """
        from stremn.sessions import MULTI_SCALE, ONE_VIEW
        from stremn.sessions.settings import SegmentationSettings

        if self.slots is not None and self.slots < 2:
            raise StremnError(
                f"--slots {self.slots} is too few: at least 2, for the first and for the latest frame"
            )
        views = MULTI_SCALE if self.multi_scale else ONE_VIEW
        # Options are called as the settings are; the others are passed over.
        return SegmentationSettings.from_dict(
            vars(self) | {"views": views, "postprocess": bool(self.postprocess)}
        )

    def segmentation_session(
        self, engine: str | None = None, threads: int = 0
    ) -> "SegmentationSession | OnnxSession":
        """The session of a video.

        Args:
            engine: ``"torch"`` or ``"onnx"``; ``None`` is what the model's file is for.
            threads: of ONNX Runtime, 0 for all cores; PyTorch's are the process's.

        Raises:
            StremnError: if the engine cannot run the model, or an option is fixed in the file.
        """
        from stremn.sessions import OnnxSession, SegmentationSession

        graph = Path(self.model).suffix == ".onnx"
        if engine not in (None, "torch", "onnx"):
            raise StremnError(f"unknown engine '{engine}': choose torch or onnx")
        if engine == "onnx" and not graph:
            raise StremnError(
                f"--engine onnx runs a graph, and model '{self.model}' is none: write one with stremn onnx "
                "FILE.onnx, and give it as --model"
            )
        if engine == "torch" and graph:
            raise StremnError(f"--engine torch cannot run {self.model}: leave it out, or give weights")
        if not graph:
            return SegmentationSession(self.model, self.segmentation())
        fixed = [n for n in ("policy", "slots", "size", "candidate_every") if getattr(self, n) is not None]
        fixed += [n for n in ("multi_scale", "postprocess") if getattr(self, n)]
        if fixed:
            option = fixed[0].replace("_", "-")
            raise StremnError(f"--{option} cannot be changed in {self.model}: leave it out here")
        return OnnxSession(self.model, threads=threads)

    def prediction(self, size: int | None) -> "PredictionSettings":
        """Settings of a prediction session; clips are computed at their own size, 0."""
        from stremn.sessions.settings import PredictionSettings

        return PredictionSettings.from_dict(vars(self) | {"size": size})

    def describe(self, session: "SegmentationSession | PredictionSession") -> dict[str, object]:
        """What ``summary.json`` and reports say of the model and the settings of either task."""
        settings = session.settings
        return {
            "model": self.model,
            "policy": settings.policy,
            "slots": settings.slots,
            "size": settings.size,
            "device": str(session.runtime.device),
            "precision": session.runtime.precision,
        }

    def describe_segmentation(self, session: "SegmentationSession | OnnxSession") -> dict[str, object]:
        """The same with what only segmentation has."""
        from stremn.sessions import OnnxSession

        if isinstance(session, OnnxSession):
            return {"model": self.model, "engine": "onnx"} | session.facts
        return self.describe(session) | {
            "candidate_every": session.settings.candidate_every,
            "certainty": session.settings.certainty,
            "seed": session.settings.seed,
            "multi_scale": self.multi_scale,
            "postprocess": bool(self.postprocess),
        }


@dataclass(frozen=True)
class ExportOptions:
    """Which exports are wanted of a segmented video, and what its objects are called."""

    export: Annotated[
        list[str] | None,
        typer.Option(help=f"Also for other tools; several times: {', '.join(EXPORT_NAMES)}."),
    ] = None
    name: Annotated[
        list[str] | None, typer.Option(help="Of an object, for exports, as in 2=dog; several times.")
    ] = None
    behind: Annotated[
        str | None, typer.Option(help="Of the cutout: a colour, or the path of a picture or video.")
    ] = None

    def open(self, folder: Path, frames: "FrameSource", overwrite: bool) -> "Exports":
        """The exports wanted, of this video, into this folder.

        Raises:
            StremnError: if one is unknown or there already, or a name cannot be used.
        """
        from stremn.exports import Exports

        names = {}
        for given in self.name or ():
            object_id, _, name = given.partition("=")
            if not object_id.isascii() or not object_id.isdecimal() or not name:
                raise StremnError(f"--name {given} is not like 2=dog: give the id of an object and its name")
            if int(object_id) in names:
                raise StremnError(f"--name gives object {int(object_id)} two names: give it one")
            names[int(object_id)] = name
        return Exports(
            folder,
            self.export or (),
            names=names,
            frame_rate=frames.frame_rate,
            pixel_aspect=frames.pixel_aspect,
            behind=self.behind,
            overwrite=overwrite,
        )


def listed(sequences: str | None) -> tuple[str, ...] | None:
    """Names that ``--sequences`` gives, each once; ``None`` if it was not given.

    Raises:
        StremnError: if it names none.
    """
    if sequences is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in sequences.split(",") if name.strip()))
    if not names:
        raise StremnError("--sequences names none: give names separated by commas")
    return names


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What a model is tried on."""

    data: Annotated[
        list[str],
        typer.Argument(
            help="DAVIS-layout folder: JPEGImages and Annotations; or YouTube-VOS, of which valid is "
            "taken unless the folder of a part is given. For a prediction model: MNIST image file, "
            "Moving MNIST test file, kth:ROOT, human36m:ROOT, memory:SEED, or videos and folders of "
            "them, PATH or PATH:NAMES."
        ),
    ]
    split: Annotated[Path | None, typer.Option(help="File with one sequence name a line.")] = None
    sequences: Annotated[str | None, typer.Option(help="Only these, separated by commas.")] = None

    def videos(self) -> "tuple[Path, list[Video]]":
        """The folder of the data set of segmentation and its sequences, in the order in which they are named.

        Of YouTube-VOS that is ``valid``, unless the folder of another part is given.

        Raises:
            StremnError: if several data sets are given, or one cannot be read or lacks a sequence.
        """
        from stremn.data import find_part, read_videos

        if len(self.data) > 1:
            raise StremnError(
                f"{self.data[1]} is one data set too many: a segmentation model takes one at a time"
            )
        root, names = Path(self.data[0]), listed(self.sequences)
        videos = read_videos(root, self.split, part="valid")
        root = find_part(root, "valid")
        if names is None:
            return root, videos
        known = {video.name: video for video in videos}
        for name in names:
            if name not in known:
                raise StremnError(f"--sequences names '{name}', which the data set or split does not have")
        return root, [known[name] for name in names]


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
    lpips: Annotated[
        Path | None, typer.Option(help="AlexNet weights of torchvision, for LPIPS, which is else left out.")
    ] = None

    def given(self) -> str | None:
        """An option that was given, if any was."""
        names = (f.name for f in fields(self) if getattr(self, f.name) != f.default)
        return next((f"--{name.replace('_', '-')}" for name in names), None)

    def open(
        self, asked: DataOptions, session: SessionOptions, models: "Mapping[str, Predictor]"
    ) -> "tuple[TestClips, list[ClipsPart]]":
        """The clips that all of these models can see, and their parts, with the network of LPIPS if wanted.

        Args:
            asked: the data.
            session: its size is that of the clips.
            models: by name, one or more.

        Raises:
            StremnError: naming what does not fit, or cannot be read.
        """
        from stremn.metrics.prediction.frames import Lpips
        from stremn.runtime import Runtime
        from stremn.tables.clips import Wanted, open_clips
        from stremn.tables.prediction import parts_of

        if session.size == 0:
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
            tuple(asked.data),
            observe=self.observe,
            horizon=self.horizon,
            size=session.size,
            clips=self.clips,
            sequences=listed(asked.sequences),
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
        if self.lpips is None:
            return test, parts_of(test)
        return test, parts_of(test, Lpips(self.lpips, device=Runtime.choose(session.device).device))


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
