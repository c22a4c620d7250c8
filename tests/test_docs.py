"""The Python of README.md and of the pages runs, on a video made here, and their commands exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from small_data import write_first_mask, write_frames, write_video
from stremn.commands import app
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
EVERY_PAGE = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REGISTRIES: tuple[dict[str, Any], ...] = (POLICIES, MODELS, ARCHITECTURES, TASKS)


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Fenced blocks of a page: language, text, and how many lines come before it."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield block[1], block[2], text.count("\n", 0, block.start(2))


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder with what the pages speak of: a video, ``frames/``, ``first.png`` with two objects."""
    write_video(tmp_path / "video.mp4", 6)
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
    for language, code, line in blocks(page):
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec"), names)


def test_every_page_is_in_the_navigation() -> None:
    """Without it `make docs` fails, which the tests do not run."""
    named = re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    there = [page.relative_to(ROOT / "docs").as_posix() for page in EVERY_PAGE[1:]]
    assert sorted(named) == sorted(there)


def anchors(page: Path) -> set[str]:
    """What of a page can be linked to: its headings, as the pages' builder names them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = (re.sub(r"[^\w\s-]", "", head).strip().lower() for head in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[-\s]+", "-", head) for head in heads}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        if not re.match(r"\w+:", link):
            there = (page.parent / name).resolve() if name else page
            assert there.exists(), link
            assert not anchor or anchor in anchors(there), link


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every ``stremn`` command of a page's code blocks without a language, as words."""
    for page in EVERY_PAGE:
        for language, code, _ in blocks(page):
            for line in [] if language else code.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|do )stremn (.+?)(?:; done)?$", line):
                    yield str(page.relative_to(ROOT)), shlex.split(found[1], comments=True)


def test_commands_of_the_pages_exist() -> None:
    lines = list(command_lines())
    assert len(lines) > 20
    for page, words in lines:
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, f"{page}: stremn has no command '{words[0]}'"
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
        for word in words:
            if word.startswith("--"):
                assert word in known, f"{page}: {command.name} has no option {word}"
