"""Options as a dataclass reach the command as they are given, and only those that are its own."""

import inspect
from dataclasses import dataclass

import pytest

from stremn.commands.bundles import bundled


@dataclass(frozen=True)
class Size:
    width: int
    height: int = 2
    depth: int = 3


@dataclass(frozen=True)
class Colour:
    red: bool = False


def test_fields_become_options() -> None:
    seen: list[object] = []

    def command(name: str, size: Size, colour: Colour) -> None:
        """What it does."""
        seen.append((name, size, colour))

    run = bundled(command, without=("depth",), height=5)
    signature = inspect.signature(run)
    assert list(signature.parameters) == ["name", "width", "height", "red"]
    assert signature.parameters["width"].default is inspect.Parameter.empty
    assert signature.parameters["height"].default == 5
    assert signature.parameters["red"].annotation is bool
    assert run.__doc__ == "What it does."
    run(name="a", width=1)
    run(name="b", width=1, height=7, red=True)
    assert seen == [("a", Size(1, 5, 3), Colour(False)), ("b", Size(1, 7, 3), Colour(True))]
    with pytest.raises(TypeError):
        run(name="c", width=1, depth=4)
