"""The house as docs/develop/design.md draws it: rooms, arrows between them, and nothing that points back."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DESIGN = ROOT / "docs" / "develop" / "design.md"

EVERYWHERE = "errors"
"""The one module that every room may import; the table leaves it out."""


def imports(body: list[ast.AST]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import that is ever run, those inside of functions too."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports([*node.orelse])
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            yield from imports(list(ast.iter_child_nodes(node)))


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its name; a package is its ``__init__``."""
    found = {}
    for path in sorted((ROOT / "src" / "stremn").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def graph() -> dict[str, set[str]]:
    """For each module the modules of the package that it imports by name."""
    trees = modules()
    edges: dict[str, set[str]] = {}
    for name, tree in trees.items():
        wanted = set()
        for node in imports([*tree.body]):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            else:
                assert node.level == 0, f"{name}: give the whole name of a module"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {part if part in trees else node.module or "" for part in inner}
        edges[name] = {w for w in wanted if w in trees and w != name}
    return edges


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def rooms() -> dict[str, set[str]]:
    """For each room the other rooms that its modules import."""
    found: dict[str, set[str]] = {}
    for module, wanted in graph().items():
        own = room(module)
        if own not in ("", "__main__", EVERYWHERE):
            others = {room(w) for w in wanted} - {own, "", EVERYWHERE}
            found.setdefault(own, set()).update(others)
    return found


def table() -> dict[str, set[str]]:
    """The rooms of the table in the order of its rows, and what it says that each imports."""
    text = DESIGN.read_text(encoding="utf-8")
    body = text.split("| Room | Imports |")[1].split("\n\n")[0]
    rows = (line.split("|")[1:3] for line in body.splitlines()[2:])
    return {re.findall(r"`(\w+)`", name)[0]: set(re.findall(r"`(\w+)`", wanted)) for name, wanted in rows}


def test_no_import_circle() -> None:
    try:
        list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


def test_table_lists_exactly_the_imports() -> None:
    assert table() == rooms()


def test_every_arrow_points_to_a_row_above() -> None:
    above: set[str] = set()
    for name, wanted in table().items():
        assert wanted <= above, f"{name} imports {sorted(wanted - above)} below it"
        above.add(name)


def test_what_computes_needs_neither_video_files_nor_a_screen() -> None:
    code = "import sys, stremn.data, stremn.files, stremn.sessions, stremn.training; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"av", "typer", "rich", "matplotlib"}.isdisjoint(done.stdout.split())
