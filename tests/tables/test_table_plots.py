"""The pictures of a table open and show what they are given."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stremn.errors import StremnError
from stremn.tables.plots import Bar, plot_ages, plot_horizon, plot_rows

WORDS = {"title": "Table", "ours": "here", "paper": "there"}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def coloured(picture: np.ndarray, blue: bool) -> int:
    """Pixels of the first colour (ours) or the second (the paper's) of matplotlib's cycle."""
    colour = np.array([31, 119, 180] if blue else [255, 127, 14])
    return int((np.abs(picture.astype(int) - colour).sum(-1) < 30).sum())


def test_ours_and_the_papers(tmp_path: Path) -> None:
    bars = [Bar("one", 70, 69, 72, 75.0), Bar("two", 71, 71, 71, None)]
    plot_rows(bars, tmp_path / "with.png", **WORDS)
    plot_rows([bars[1]], tmp_path / "without.png", **WORDS)
    with_paper, without = pixels(tmp_path / "with.png"), pixels(tmp_path / "without.png")
    assert coloured(with_paper, blue=True) > coloured(without, blue=True) > 0
    assert coloured(with_paper, blue=False) > 0
    assert coloured(without, blue=False) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"with.png", "without.png"}


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_ages(rows: int, tmp_path: Path) -> None:
    shares = {f"row {i}": np.full(10 * i, 0.1 / max(1, i)) for i in range(rows)}
    plot_ages(shares, tmp_path / "ages.png", title="Ages")
    picture = pixels(tmp_path / "ages.png")
    # The first row has no templates at all.
    assert (coloured(picture, blue=True) > 0) == (rows > 1)


def test_more_ages_than_bars(tmp_path: Path) -> None:
    plot_ages({"long": np.full(500, 1 / 500)}, tmp_path / "long.png", title="Ages", bins=40)
    assert coloured(pixels(tmp_path / "long.png"), blue=True) > 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="cannot write"):
        plot_rows([Bar("one", 1, 1, 1)], tmp_path / "none" / "rows.png", **WORDS)


def test_rows_that_the_paper_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "rows.png"
    plot_rows([Bar("one", 70), Bar("two", 71, 70, 73)], path, title="Table", ours="here", axis="MSE")
    assert coloured(pixels(path), blue=True) > 0
    assert coloured(pixels(path), blue=False) == 0


def test_scores_over_the_horizon(tmp_path: Path) -> None:
    curves = {"first": [1.0, 2.0, 3.0], "second": [2.0, 2.0, 2.5]}
    plot_horizon({"MSE": curves, "SSIM": curves}, tmp_path / "both.png", title="Table", note="digits " * 40)
    plot_horizon({"MSE": {"first": [1.0]}}, tmp_path / "one.png", title="Table", note="one frame")
    both = pixels(tmp_path / "both.png")
    assert coloured(both, blue=True) > 0
    assert coloured(both, blue=False) > 0
    assert coloured(pixels(tmp_path / "one.png"), blue=False) == 0
