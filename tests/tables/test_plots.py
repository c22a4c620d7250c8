"""The pictures open and show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stremn.errors import StremnError
from stremn.memory import MemoryHistory
from stremn.tables.plots import Bar, plot_ages, plot_horizon, plot_memory, plot_rows

BARS = [Bar("one", 70, 69, 72, 75.0), Bar("two", 71, 71, 71)]
WORDS = {"title": "Table", "ours": "here"}


def pixels(path: Path) -> np.ndarray:
    """Of a picture that is whole and not blank."""
    with Image.open(path) as image:
        found = np.array(image.convert("L"))
    assert found.std() > 5
    return found


def test_rows(tmp_path: Path) -> None:
    plot_rows(BARS, tmp_path / "both.png", **WORDS, paper="there")
    plot_rows(BARS, tmp_path / "ours.png", **WORDS, axis="MSE")
    plot_rows(BARS[1:], tmp_path / "one.png", **WORDS, axis="MSE")
    # The paper's figures have a panel of their own, and each row a line.
    both, ours, one = (pixels(tmp_path / name) for name in ("both.png", "ours.png", "one.png"))
    assert both.shape[1] > ours.shape[1]
    assert ours.shape[0] > one.shape[0]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_ages(rows: int, tmp_path: Path) -> None:
    # The first row has no templates at all.
    shares = {f"row {i}": np.full(10 * i, 0.1 / max(1, i)) for i in range(rows)}
    plot_ages(shares, tmp_path / "ages.png", title="Ages")
    assert pixels(tmp_path / "ages.png").shape[0] > 100 * (rows + 1) // 2


def test_more_ages_than_bars(tmp_path: Path) -> None:
    plot_ages({"long": np.full(500, 1 / 500)}, tmp_path / "long.png", title="Ages", bins=40)
    plot_ages({"short": np.full(40, 1 / 40)}, tmp_path / "short.png", title="Ages", bins=40)
    assert not np.array_equal(pixels(tmp_path / "long.png"), pixels(tmp_path / "short.png"))


def test_scores_over_the_horizon(tmp_path: Path) -> None:
    curves = {"first": [1.0, 2.0, 3.0], "second": [2.0, 2.0, 2.5]}
    plot_horizon({"MSE": curves, "SSIM": curves}, tmp_path / "both.png", title="Table", note="digits " * 40)
    plot_horizon({"MSE": {"first": [1.0]}}, tmp_path / "one.png", title="Table", note="one frame")
    assert pixels(tmp_path / "both.png").shape[1] > pixels(tmp_path / "one.png").shape[1]


@pytest.mark.parametrize("objects", [0, 1, 6])
def test_the_memory_of_some_objects(objects: int, tmp_path: Path) -> None:
    history = MemoryHistory()
    for t in range(5):
        history.add(t, {i: [0, t, -1, max(0, t - 2)] for i in range(1, objects + 1)})
    plot_memory(history, tmp_path / "memory.png")
    # A panel for each of up to four objects, and one for the ages.
    assert pixels(tmp_path / "memory.png").shape[0] // 280 == min(objects, 4) + 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="cannot write"):
        plot_rows(BARS, tmp_path / "none" / "rows.png", **WORDS)
    with pytest.raises(StremnError, match="cannot write"):
        plot_memory(MemoryHistory(), tmp_path / "none" / "memory.png")
