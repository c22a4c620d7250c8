"""Recipes: everything that a training run depends on, as one YAML file."""

import math
import os.path
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from stremn.errors import StremnError

__all__ = ["Recipe", "expand", "load_recipe"]

_LEAST = {"objects": 1, "max_gap": 1, "chosen": 0, "steps": 1, "save_every": 1}
_LEAST |= {"frozen_blocks": 0, "workers": 0, "warmup": 0, "learning_rate": 0, "backbone_rate": 0}
_LEAST |= {"weight_decay": 0, "clip_norm": 0, "dice_weight": 0, "seed": 0}
_SHARES = ("video_share", "hard_share", "guide_share", "final_rate", "ema")
_KINDS = {"str": "text", "int": "a whole number", "float": "a number", "tuple": "a list of texts"}


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes:
        model: registered name.
        start: checkpoint to start from, a file or folder; empty for ImageNet weights only.
        backbone_weights: file with ImageNet weights; empty for the default of the model.
        videos: DAVIS-layout folders, each ``root`` or ``root:split file``.
        stills: folders with ``images`` and ``masks``.
        held_out: names of sequences that are never trained on; validation runs on them.
        video_share: share of clips that come from videos, 0 to 1.
        frames: T of a clip. Like ``batch`` and ``size`` a number, or a list: then each step draws one entry
            of the three lists.
        size: sides of a clip in pixels, divisible by 32.
        objects: O, the most objects followed in a clip.
        max_gap: most frames from one frame of a video clip to the next.
        chosen: chosen slots in training. The update keys are trained only where there is a choice: at least 2
            chosen slots, in clips of at least ``chosen + 4`` frames.
        batch: clips in a step of one process.
        steps: optimiser steps.
        warmup: steps of linear warm-up before the cosine.
        learning_rate: of everything but the backbone.
        backbone_rate: of the backbone.
        frozen_blocks: how many of the backbone's first blocks keep their weights, the stem with them; 0
            trains all of it.
        final_rate: share of the rates that is left at the end.
        weight_decay: of AdamW.
        clip_norm: largest gradient norm.
        dice_weight: see :func:`stremn.training.losses.segmentation_loss`.
        hard_share: see there.
        guide_share: share of steps in which the decoder sees the previous probabilities.
        ema: decay of the averaged weights that are saved.
        workers: processes that make clips.
        precision: ``"bf16"`` or ``"no"``.
        seed: of everything random.
        save_every: steps between checkpoints.
    """

    model: str = "stremn-lite"
    start: str = ""
    backbone_weights: str = ""
    videos: tuple[str, ...] = ()
    stills: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    video_share: float = 0.5
    frames: tuple[int, ...] = (4,)
    size: tuple[int, ...] = (256,)
    objects: int = 2
    max_gap: int = 8
    chosen: int = 1
    batch: tuple[int, ...] = (4,)
    steps: int = 1000
    warmup: int = 100
    learning_rate: float = 4e-4
    backbone_rate: float = 2e-5
    frozen_blocks: int = 3
    final_rate: float = 0.01
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dice_weight: float = 1.0
    hard_share: float = 1.0
    guide_share: float = 0.7
    ema: float = 0.999
    workers: int = 1
    precision: str = "bf16"
    seed: int = 0
    save_every: int = 250

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        if not self.videos and not self.stills:
            raise StremnError("recipe: neither 'videos' nor 'stills' names any data")
        self._check_shapes()
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not (value >= least and math.isfinite(value)):
                raise StremnError(f"recipe: '{name}' must be at least {least}, not {value}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise StremnError(f"recipe: '{name}' must be from 0 to 1, not {getattr(self, name)}")
        if self.precision not in ("bf16", "no"):
            raise StremnError(f"recipe: 'precision' must be bf16 or no, not '{self.precision}'")

    def _check_shapes(self) -> None:
        for name, least in (("frames", 2), ("batch", 1), ("size", 32)):
            for value in getattr(self, name):
                if value < least:
                    raise StremnError(f"recipe: '{name}' must be at least {least}, not {value}")
        for size in self.size:
            if size % 32:
                raise StremnError(f"recipe: 'size' must be a positive multiple of 32, not {size}")
        lengths = {len(values) for values in (self.batch, self.frames, self.size) if len(values) != 1}
        if len(lengths) > 1 or not (self.batch and self.frames and self.size):
            raise StremnError(
                "recipe: 'batch', 'frames' and 'size' must be numbers, or lists of the same length"
            )

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The (batch, frames, size) that steps draw from."""
        most = max(len(self.batch), len(self.frames), len(self.size))
        lists = [v * most if len(v) == 1 else v for v in (self.batch, self.frames, self.size)]
        return list(zip(*lists, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """As plain data for the run's record."""
        return asdict(self)


def load_recipe(path: Path | str, changes: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply ``key=value`` changes. Relative data paths count from the working directory.

    Raises:
        StremnError: if the file cannot be read, or a key is unknown or of the wrong type.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StremnError(f"{path}: cannot read the recipe ({str(error).splitlines()[0]})") from error
    if not isinstance(data, dict):
        raise StremnError(f"{path}: a recipe is a list of 'key: value' lines")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise StremnError(f"--set {change}: write key=value")
        try:
            data[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise StremnError(f"--set {change}: the value is not YAML") from error
    types = {f.name: f.type for f in fields(Recipe)}
    for key, value in data.items():
        if key not in types:
            raise StremnError(f"{path}: unknown key '{key}'; known are {', '.join(sorted(types))}")
        data[key] = _typed(path, key, value, str(types[key]))
    return Recipe(**data)


def expand(text: str) -> str:
    """A path with its environment variables filled in.

    Raises:
        StremnError: if one is not set.
    """
    path = os.path.expanduser(os.path.expandvars(text))
    if "$" in path:
        raise StremnError(
            f"recipe: {text} names an environment variable that is not set; set it, or write the path"
        )
    return path


def _typed(path: Path | str, key: str, value: Any, kind: str) -> Any:
    """``value`` as the type of the field, which is told by its name."""
    if kind == "tuple[int, ...]":
        values = value if isinstance(value, list) else [value]
        return tuple(_typed(path, key, number, "int") for number in values)
    kind = next(name for name in _KINDS if name in kind.replace("tuple[str", "tuple"))
    if kind == "tuple":
        value = [value] if isinstance(value, str) else value
        if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
    elif kind == "float":
        # YAML reads 1e-4 as text.
        try:
            if not isinstance(value, bool):
                return float(value)
        except (TypeError, ValueError):
            pass
    elif kind == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(value, str):
        return value
    raise StremnError(f"{path}: key '{key}' cannot be {value!r}; give {_KINDS[kind]}")
