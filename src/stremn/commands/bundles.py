"""Options that several commands share, as one dataclass instead of a list in the head of each command."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["bundled"]


def bundled(
    command: Callable[..., None], *, without: Collection[str] = (), **defaults: Any
) -> Callable[..., None]:
    """A command whose dataclass parameters are spelled out as options, one for each field.

    A field is annotated as an option of the command line is; the command gets the dataclass back.

    Args:
        command: its other parameters come first.
        without: fields that are no options of this command and keep their default.
        **defaults: of this command, where they differ from the field's.

    Examples:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Size:
        ...     width: int
        ...     height: int = 2
        >>> def area(size: Size) -> None:
        ...     print(size.width * size.height)
        >>> bundled(area, height=5)(width=3)
        15
    """
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    bundles = {name: hints[name] for name in own if is_dataclass(hints[name])}
    plain = [p.replace(annotation=hints[n], kind=p.KEYWORD_ONLY) for n, p in own.items() if n not in bundles]
    parts: dict[str, list[str]] = {}
    for name, bundle in bundles.items():
        annotations = get_type_hints(bundle, include_extras=True)
        chosen = [field for field in fields(bundle) if field.name not in without]
        parts[name] = [field.name for field in chosen]
        plain += [_parameter(field, annotations[field.name], defaults) for field in chosen]

    @wraps(command)
    def run(**values: Any) -> None:
        values = defaults | values
        whole = {
            name: bundles[name](**{field: values.pop(field) for field in chosen if field in values})
            for name, chosen in parts.items()
        }
        command(**values, **whole)

    run.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in plain}
    return run


def _parameter(field: Field[Any], annotation: Any, defaults: dict[str, Any]) -> inspect.Parameter:
    default = defaults.get(field.name, field.default)
    if default is MISSING:
        default = inspect.Parameter.empty
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
