"""Docstrings: one dialect, and examples that run."""

import ast
import doctest
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stremn
from stremn import ops
from stremn.metrics import segmentation

SRC = Path(__file__).resolve().parents[1] / "src"
SOURCES = sorted((SRC / "stremn").rglob("*.py"))
WITH_EXAMPLES = [path for path in SOURCES if ">>> " in path.read_text(encoding="utf-8")]

CODE = re.compile(r":\w+:`[^`]+`|``[^`]+``|(`[^`\n]+`)")
"""A cross reference, code in double backticks or, as a group, in single ones."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """All strings that stand alone, with their lines: of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def faults() -> Iterator[str]:
    for path in SOURCES:
        for line, text in docstrings(path):
            where = f"{path.relative_to(SRC)}:{line}"
            if re.match(r"\s*See ", text):
                yield f"{where} points elsewhere: give a sentence"
            if any(code[1] for code in CODE.finditer(text)):
                yield f"{where} has code in single backticks: use two"
            if "Example:\n" in text:
                yield f"{where} has a section Example: call it Examples"
            if "doctest: +SKIP" in text:
                yield f"{where} has an example that does not run"


def test_one_dialect() -> None:
    assert list(faults()) == []


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(SRC)))
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed, "the report is among the captured output"


@pytest.mark.parametrize(
    "door",
    [
        getattr(package, name)
        for package in (stremn, ops, segmentation)
        for name in package.__all__
        if callable(getattr(package, name))
    ],
    ids=lambda door: door.__qualname__,
)
def test_every_public_door_has_an_example(door: type) -> None:
    assert ">>> " in (door.__doc__ or "")
