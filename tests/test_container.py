"""The Dockerfile, without a daemon: what it copies is there, and it installs what we test with."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(names) == sorted(kept)
    assert all((ROOT / name).exists() for name in names)


def test_it_installs_by_the_constraints_on_the_python_of_the_project() -> None:
    installs = re.findall(r"pip install (.+?)(?: && |$)", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in line for line in installs)
    python = re.search(r"^PYTHON \?= python(\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert python
    assert set(re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, re.MULTILINE)) == {python[1]}
