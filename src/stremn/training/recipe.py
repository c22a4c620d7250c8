"""What every recipe says, whatever is trained, and how a recipe is read from a YAML file."""

import math
import os.path
import reprlib
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from stremn.errors import StremnError

__all__ = ["Recipe", "expand", "read_values"]

OPTIMIZERS = ("adamw", "adam")
PRECISIONS = ("bf16", "no")

MOST = 2**31 - 1
"""Largest number that a key can have."""

_KINDS = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}


@dataclass(frozen=True)
class Recipe:
    """What is common to the training runs of all tasks; each task's recipe adds its data and its losses.

    Attributes:
        task: what is trained, a name of :data:`stremn.training.TASKS`.
        model: registered name.
        start: checkpoint to start from, a file or folder; empty for a new model.
        frames: T of a clip. Like ``batch`` and ``size`` a number, or a list: then each step draws one entry
            of the three lists.
        size: sides of a clip in pixels, divisible by 32.
        batch: clips of one process in one part of a step; a step trains on ``batch * accumulate *
            processes`` clips.
        accumulate: parts of a step, whose gradients are averaged.
        steps: optimiser steps.
        optimizer: ``"adamw"`` or ``"adam"``.
        learning_rate: the largest.
        warmup: steps of linear warm-up before the cosine.
        final_rate: share of the rates that is left at the end of the cosine; 1 keeps them constant.
        weight_decay: of the optimiser.
        clip_norm: largest gradient norm; 0 for no limit.
        ema: decay of the averaged weights, which are validated and saved; 0 for the weights themselves.
        workers: processes that make clips.
        precision: ``"bf16"`` or ``"no"``.
        deterministic: only algorithms that repeat themselves bit by bit; slower on a GPU.
        seed: of everything random.
        save_every: steps between checkpoints.
        keep: how many of the latest checkpoints stay.
        validate_every: steps between validations, after each of which the best weights are kept; 0 for none.
        average_best: how many weights, those with the best scores in validation, are kept and averaged (P4);
            0 for none.
    """

    task: str = "segmentation"
    model: str = "stremn-lite"
    start: str = ""
    frames: tuple[int, ...] = (4,)
    size: tuple[int, ...] = (256,)
    batch: tuple[int, ...] = (4,)
    accumulate: int = 1
    steps: int = 1000
    optimizer: str = "adamw"
    learning_rate: float = 4e-4
    warmup: int = 100
    final_rate: float = 0.01
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema: float = 0.999
    workers: int = 1
    precision: str = "bf16"
    deterministic: bool = True
    seed: int = 0
    save_every: int = 250
    keep: int = 2
    validate_every: int = 0
    average_best: int = 0

    stride: ClassVar[int] = 32
    """What ``size`` must be divisible by."""
    least: ClassVar[Mapping[str, float]] = {
        "frames": 2,
        "size": 32,
        "batch": 1,
        "accumulate": 1,
        "steps": 1,
        "learning_rate": 0,
        "warmup": 0,
        "weight_decay": 0,
        "clip_norm": 0,
        "workers": 0,
        "seed": 0,
        "save_every": 1,
        "keep": 1,
        "validate_every": 0,
        "average_best": 0,
    }
    """Smallest value of each key that has one."""
    most: ClassVar[Mapping[str, float]] = {"frames": 10_000, "size": 8192, "batch": 10_000, "workers": 512}
    """Largest value of keys that would ask for more than a machine has."""
    shares: ClassVar[tuple[str, ...]] = ("final_rate", "ema")
    """Keys from 0 to 1."""
    while_running: ClassVar[tuple[str, ...]] = (
        "workers",
        "save_every",
        "keep",
        "validate_every",
        "average_best",
    )
    """Keys that may change when a run is resumed: they do not change what is trained."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        for name, least in self.least.items():
            most = self.most.get(name, MOST)
            for value in self._numbers(name):
                if not (value >= least and math.isfinite(value)):
                    raise StremnError(f"recipe: '{name}' must be at least {least}, not {value}")
                if value > most:
                    raise StremnError(f"recipe: '{name}' must be at most {most}, not {value}")
        for size in self.size:
            if size % self.stride:
                raise StremnError(f"recipe: 'size' must be a positive multiple of {self.stride}, not {size}")
        lengths = {len(values) for values in (self.batch, self.frames, self.size) if len(values) != 1}
        if len(lengths) > 1 or not (self.batch and self.frames and self.size):
            raise StremnError(
                "recipe: 'batch', 'frames' and 'size' must be numbers, or lists of the same length"
            )
        for name in self.shares:
            if not 0 <= getattr(self, name) <= 1:
                raise StremnError(f"recipe: '{name}' must be from 0 to 1, not {getattr(self, name)}")
        for name, choices in (("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                known = " or ".join(choices)
                raise StremnError(f"recipe: '{name}' must be {known}, not '{getattr(self, name)}'")
        if self.average_best and not self.validate_every:
            raise StremnError("recipe: 'average_best' needs 'validate_every' to know which weights are best")

    def _numbers(self, name: str) -> tuple[float, ...]:
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The (batch, frames, size) that steps draw from."""
        most = max(len(self.batch), len(self.frames), len(self.size))
        lists = [v * most if len(v) == 1 else v for v in (self.batch, self.frames, self.size)]
        return list(zip(*lists, strict=True))

    @property
    def session_precision(self) -> str:
        """What ``precision`` is called by sessions, which validate as users compute."""
        return "fp32" if self.precision == "no" else self.precision

    def to_dict(self) -> dict[str, Any]:
        """Give the recipe as plain data, which :meth:`from_dict` takes."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: Path | str) -> Self:
        """Make a recipe of plain data.

        Args:
            values: by key; absent keys get their default.
            where: names the origin in errors.

        Raises:
            StremnError: if a key is unknown, or a value of the wrong type or out of range.
        """
        types = {f.name: f.type.__name__ if isinstance(f.type, type) else str(f.type) for f in fields(cls)}
        for key in values:
            if key not in types:
                known = ", ".join(sorted(types))
                raise StremnError(f"{where}: unknown key {_shown(key)}; known are {known}")
        return cls(**{key: _typed(where, key, value, types[key]) for key, value in values.items()})


def read_values(path: Path | str, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the keys of a YAML file and apply ``key=value`` changes to them; they are not yet checked.

    Raises:
        StremnError: if the file cannot be read as keys and values, or a change is none; for faults of the
            YAML it gives line, column and cause.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise StremnError(f"{path}: cannot read the recipe ({error.strerror or error})") from error
    except ValueError as error:
        raise StremnError(f"{path}: cannot read the recipe (it is no UTF-8 text)") from error
    data = _read_yaml(text, f"{path}: cannot read the recipe")
    if not isinstance(data, dict):
        raise StremnError(f"{path}: a recipe is a list of 'key: value' lines")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise StremnError(f"change {_shown(change)}: write key=value")
        data[key] = _read_yaml(value, f"change {_shown(change)}: the value is not YAML")
    return data


def _read_yaml(text: str, fault: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that is there twice, and says of every value that it cannot make where it stands."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    cause = f"key {_shown(key.value)} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, cause, key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
            return super().construct_mapping(node, deep)

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                cause = str(error) or type(error).__name__
                raise yaml.constructor.ConstructorError(None, None, cause, node.start_mark) from error

    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        cause = error.problem or error.context or "no YAML"
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        cause = f"character {error.character:#x} is not allowed"
    except RecursionError:
        line, column, cause = 1, 1, "too many lists within lists"
    cause = " ".join(cause.split())
    if "'\\t'" in cause:
        cause += "; write spaces in place of tabs"
    raise StremnError(f"{fault} (line {line}, column {column}: {cause})")


def expand(text: str) -> str:
    """Fill in the environment variables of a path.

    Raises:
        StremnError: if one is not set.
    """
    path = os.path.expanduser(os.path.expandvars(text))
    if "$" in path:
        raise StremnError(
            f"recipe: {text} names an environment variable that is not set; set it, or write the path"
        )
    return path


def _typed(where: Path | str, key: str, value: Any, kind: str) -> Any:
    """Give ``value`` as the type of the field, which is told by its name."""
    if kind == "tuple[int, ...]":
        values = value if isinstance(value, list) else [value]
        return tuple(_typed(where, key, number, "int") for number in values)
    if kind == "tuple[str, ...]":
        values = [value] if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(v, str) and v for v in values):
            return tuple(_typed(where, key, text, "str") for text in values)
        raise StremnError(f"{where}: key '{key}' cannot be {_shown(value)}; give a list of texts")
    if isinstance(value, int) and abs(value) > MOST:
        raise StremnError(f"{where}: key '{key}' is too large a number; give at most {MOST}")
    if kind == "str" and isinstance(value, str) and any(_unusual(character) for character in value):
        raise StremnError(f"{where}: key '{key}' holds characters that no name has; write it anew")
    if kind == "float" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        # YAML reads 1e-4 as text.
        with suppress(ValueError):
            return float(value)
    elif type(value).__name__ == kind:
        return value
    raise StremnError(f"{where}: key '{key}' cannot be {_shown(value)}; give {_KINDS[kind]}")


def _unusual(character: str) -> bool:
    """Whether a character is a control character or half of a pair."""
    return unicodedata.category(character) in ("Cc", "Cs")


def _shown(value: Any) -> str:
    """Show a value in an error; a recipe may hold anything, of any length."""
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 60
    try:
        return shown.repr(value)
    except ValueError:
        return "a number of too many digits to show"
