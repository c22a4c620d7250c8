"""The notebook runs, offline, from its first cell to its last."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "quickstart.ipynb"


def test_the_notebook_follows_its_ball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the notebook wants the network"))
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "keep it without outputs: they differ from machine to machine"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    y, x = np.mgrid[:120, :160]
    ball = (x - 123) ** 2 + (y - 80) ** 2 <= 17.5**2
    found = names["labels"][23] == 1  # type: ignore[index]
    assert (ball & found).sum() / (ball | found).sum() > 0.8
    assert names["future"].shape == (6, 120, 160, 3)  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())
