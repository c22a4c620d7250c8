"""What every recipe says, whatever is trained, and how a recipe is read from a YAML file."""

import os.path
import reprlib
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from stremn.errors import StremnError

__all__ = ["Recipe", "bounded", "expand", "read_values"]

OPTIMIZERS = ("adamw", "adam")
PRECISIONS = ("bf16", "fp16", "no")
STRIDE = 32
"""What ``size`` must be divisible by."""

MOST = 2**31 - 1
"""Largest number that a key can have."""

_KINDS = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}
_MAPPING = "dict[str, typing.Any]"


def bounded(default: Any, least: float, most: float = MOST, *, while_running: bool = False) -> Any:
    """Declare a key that is a number, or a list of them: its default, and its smallest and largest value.

    One that may change when a run is resumed, since it does not change what is trained, says
    ``while_running``.
    """
    return field(default=default, metadata={"least": least, "most": most, "while_running": while_running})


@dataclass(frozen=True)
class Recipe:
    """What is common to the training runs of all tasks; each task's recipe adds its data and its losses."""

    task: str = "segmentation"
    """What is trained, a name of :data:`stremn.training.TASKS`."""
    model: str = "stremn-lite"
    """Registered name."""
    start: str = ""
    """Checkpoint to start from, a file or folder; empty for a new model."""
    config: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config to change, such as ``{slots: 3, policy: oldest}``: those of
    :class:`stremn.models.SegmenterConfig` or the config of a predictor. The saved weights carry them. With
    ``start``, as far as its weights fit."""
    frames: tuple[int, ...] = bounded((4,), 2, 10_000)
    """T of a clip. Like ``batch`` and ``size`` a number, or a list: then each step draws one entry of the
    three lists."""
    size: tuple[int, ...] = bounded((256,), STRIDE, 8192)
    """Sides of a clip in pixels, divisible by 32."""
    batch: tuple[int, ...] = bounded((4,), 1, 10_000)
    """Clips of one process in one part of a step, which is of ``batch * accumulate * processes`` clips."""
    accumulate: int = bounded(1, 1)
    """Parts of a step, whose gradients are averaged."""
    steps: int = bounded(1000, 1)
    """Optimiser steps."""
    optimizer: str = "adamw"
    """``"adamw"`` or ``"adam"``."""
    learning_rate: float = bounded(4e-4, 0)
    """The largest."""
    warmup: int = bounded(100, 0)
    """Steps of linear warm-up before the cosine."""
    final_rate: float = bounded(0.01, 0, 1)
    """Share of the rates that is left at the end of the cosine; 1 keeps them constant."""
    weight_decay: float = bounded(0.01, 0)
    """Of the optimiser."""
    clip_norm: float = bounded(1.0, 0)
    """Largest gradient norm; 0 for no limit."""
    ema: float = bounded(0.999, 0, 1)
    """Decay of the averaged weights, which are validated and saved; 0 for the weights themselves."""
    workers: int = bounded(1, 0, 512, while_running=True)
    """Processes that make clips."""
    precision: str = "bf16"
    """``"bf16"``, ``"fp16"`` (on a GPU) or ``"no"``."""
    deterministic: bool = True
    """Only algorithms that repeat themselves bit by bit; slower on a GPU."""
    seed: int = bounded(0, 0)
    """Of everything random."""
    save_every: int = bounded(250, 1, while_running=True)
    """Steps between checkpoints."""
    keep: int = bounded(2, 1, while_running=True)
    """How many of the latest checkpoints stay."""
    validate_every: int = bounded(0, 0, while_running=True)
    """Steps between validations, after each of which the best weights are kept; 0 for none."""
    average_best: int = bounded(0, 0, while_running=True)
    """How many weights, those with the best scores in validation, are kept and averaged (P4); 0 for none."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run, naming the key."""
        for name, bounds in self.bounds().items():
            value, least, most = getattr(self, name), bounds["least"], bounds["most"]
            for number in value if isinstance(value, tuple) else (value,):
                if not least <= number <= most:
                    limit = f"at most {most}" if number > most else f"at least {least}"
                    raise StremnError(f"recipe: '{name}' must be {limit}, not {number}")
        for size in self.size:
            if size % STRIDE:
                raise StremnError(f"recipe: 'size' must be a multiple of {STRIDE}, not {size}")
        lengths = {len(values) for values in (self.batch, self.frames, self.size) if len(values) != 1}
        if len(lengths) > 1 or not (self.batch and self.frames and self.size):
            raise StremnError(
                "recipe: 'batch', 'frames' and 'size' must be numbers, or lists of the same length"
            )
        for name, choices in (("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                known = " or ".join(choices)
                raise StremnError(f"recipe: '{name}' must be {known}, not '{getattr(self, name)}'")
        if self.average_best and not self.validate_every:
            raise StremnError("recipe: 'average_best' needs 'validate_every' to know which weights are best")

    @classmethod
    def bounds(cls) -> dict[str, Mapping[str, Any]]:
        """What :func:`bounded` declares, by key; a subclass that gives another default keeps the bounds."""
        kinds = [kind for kind in reversed(cls.__mro__) if is_dataclass(kind)]
        return {f.name: f.metadata for kind in kinds for f in fields(kind) if f.metadata}

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The (batch, frames, size) that steps draw from."""
        most = max(len(self.batch), len(self.frames), len(self.size))
        lists = [v * most if len(v) == 1 else v for v in (self.batch, self.frames, self.size)]
        return list(zip(*lists, strict=True))

    @property
    def config_changes(self) -> dict[str, Any]:
        """What becomes another in the model's config."""
        return self.config

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
    if kind == _MAPPING:
        names, values = (list(value), list(value.values())) if isinstance(value, dict) else ([None], [])
        parts = [part for one in values for part in (one if isinstance(one, list) else [one])]
        if all(isinstance(name, str) for name in names) and all(map(_is_plain, [*names, *parts])):
            return value
        raise StremnError(f"{where}: key '{key}' cannot be {_shown(value)}; give {{field: value, ...}}")
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


def _is_plain(value: Any) -> bool:
    """Whether a value can be written down and read again."""
    if isinstance(value, str):
        return not any(map(_unusual, value))
    return value is None or (isinstance(value, (int, float)) and abs(value) <= MOST)


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
