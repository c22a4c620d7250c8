"""The Python of README.md and of the pages for users and developers runs, on a video made here."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_data import write_first_mask, write_frames
from stremn.memory import POLICIES
from stremn.models import MODELS
from stremn.models.registry import ARCHITECTURES
from stremn.training import TASKS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    page
    for pattern in ("README.md", "docs/use/*.md", "docs/develop/*.md")
    for page in sorted(ROOT.glob(pattern))
    if "```python" in page.read_text(encoding="utf-8")
]
REGISTRIES: tuple[dict[str, Any], ...] = (POLICIES, MODELS, ARCHITECTURES, TASKS)


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder with what the pages speak of: ``frames/`` and ``first.png`` with two objects."""
    write_frames(tmp_path / "frames", [f"{index:05d}.jpg" for index in range(6)])
    write_first_mask(tmp_path / "first.png")
    monkeypatch.chdir(tmp_path)
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before):
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("video")
def test_python_of_a_page_runs(page: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        before = text[: block.start(1)].count("\n")
        exec(compile("\n" * before + block[1], str(page), "exec"), names)
