"""The options of prediction, and what they open: the task of a model, its clips, its memory."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from stremn.commands.options import check_size, named
from stremn.errors import StremnError
from stremn.memory import get_policy
from stremn.metrics.prediction.lpips import Lpips
from stremn.models import PREDICTORS, Predictor, as_model, from_pretrained
from stremn.runtime import Runtime
from stremn.tables.clips import TestClips, Wanted, open_clips
from stremn.tables.prediction import ForecastSetting
from stremn.tables.store import weights_digest

__all__ = ["ForecastOptions", "check_memory", "predictor_of", "read_predictor", "refuse"]

DIGITS = "8000-"
"""Of `t10k-images-idx3-ubyte`, what our recipes leave for the test."""


@dataclass(frozen=True)
class ForecastOptions:
    """What is observed and predicted; ``None`` is what the data set is measured by."""

    observe: Annotated[int | None, typer.Option(min=1, help="M, frames observed, of a prediction model.")] = (
        None
    )
    horizon: Annotated[int | None, typer.Option(min=1, help="N, frames predicted.")] = None
    clips: Annotated[int | None, typer.Option(min=1, help="How many; default all, or 1000 generated.")] = None
    digits: Annotated[
        str, typer.Option(help="First and last digit of an MNIST file to make clips of; no last one: all.")
    ] = DIGITS
    data_seed: Annotated[int, typer.Option(min=0, help="Of the clips that are generated.")] = 2
    gap: Annotated[
        int | None, typer.Option(min=1, help="Frames of a clip are so far apart in the video; default 1.")
    ] = None
    batch: Annotated[int, typer.Option(min=1, help="Clips predicted at a time.")] = 10
    lpips: Annotated[
        Path | None, typer.Option(help="AlexNet weights of torchvision, for LPIPS, which is else left out.")
    ] = None

    def given(self) -> str | None:
        """An option that was given, if any was."""
        names = (f.name for f in fields(self) if getattr(self, f.name) != f.default)
        return next((f"--{name.replace('_', '-')}" for name in names), None)

    def open(
        self,
        data: Sequence[str],
        models: Sequence[tuple[str, Predictor]],
        size: int | None,
        sequences: str | None,
    ) -> TestClips:
        """The clips that all of these models can see.

        Args:
            data: as it was given.
            models: each with its name; one or more.
            size: sides in pixels, as it was given.
            sequences: names of videos, as they were given.

        Raises:
            StremnError: naming what does not fit.
        """
        check_size(size)
        if size == 0:
            raise StremnError(
                "--size 0 is not possible with a prediction model: clips are squares of one size"
            )
        channels = {model.config.channels: name for name, model in models}
        if len(channels) > 1:
            raise StremnError(
                f"'{channels[1]}' is for grey frames and '{channels[3]}' for colour: rows of one table see "
                "the same frames, give a table each"
            )
        wanted = Wanted(
            tuple(data),
            self.observe,
            self.horizon,
            size,
            self.clips,
            named(sequences),
            _digits(self.digits),
            self.data_seed,
            self.gap,
        )
        clips = open_clips(wanted, grey=1 in channels)
        for name, model in models:
            if clips.protocol.size % model.stride:
                raise StremnError(
                    f"--size {clips.protocol.size} is not divisible by {model.stride}, as '{name}' needs: "
                    "give a multiple of it"
                )
        return clips

    def setting(
        self, clips: TestClips, models: Iterable[Predictor], device: str, precision: str
    ) -> ForecastSetting:
        """What all rows have in common.

        Raises:
            StremnError: if the device is not there, or the weights of LPIPS cannot be read.
        """
        where = Runtime.choose(device, precision).device
        lpips = None if self.lpips is None else Lpips(self.lpips, device=where)
        by_digest = {weights_digest(model): model for model in models}
        return ForecastSetting(clips, by_digest, device, precision, self.batch, lpips)


def predictor_of(model: str, forecast: ForecastOptions) -> Predictor | None:
    """The prediction model of that name; ``None`` for a segmentation model, whose task it then is.

    Raises:
        StremnError: if prediction is asked for and this is no such model.
    """
    try:
        found = from_pretrained(model)
    except StremnError:
        if forecast.given() or model in PREDICTORS:
            raise
        # Segmentation says so after it has looked at the data.
        return None
    if isinstance(found, Predictor):
        return found
    if option := forecast.given():
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


def check_memory(policy: str | None, slots: int | None) -> None:
    """Refuse settings of a memory before anything is read.

    Raises:
        StremnError: naming the option at fault.
    """
    if policy is not None:
        get_policy(policy)
    if slots is not None and slots < 1:
        raise StremnError(f"--slots {slots} is too few: give 1 or more")


def read_predictor(name: str) -> Predictor:
    """A model that a row of table 5 needs.

    Raises:
        StremnError: if it cannot be read or is of another task.
    """
    return as_model(name, Predictor)  # type: ignore[type-abstract]


def _digits(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d*)\s*", text)
    if not match or int(match[1]) > int(match[2] or match[1]):
        raise StremnError(f"--digits {text} is no range: give the first and the last one, as 8000-9999")
    return int(match[1]), int(match[2]) + 1 if match[2] else None
