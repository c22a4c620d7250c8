"""The picture of the memory, in bounded space."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stremn.errors import StremnError
from stremn.memory import MemoryHistory
from stremn.tables.plots import plot_memory


@given(frames=st.integers(1, 400), half=st.integers(1, 20), objects=st.integers(1, 3))
def test_bounded_and_evenly_spread(frames: int, half: int, objects: int) -> None:
    limit = 2 * half
    history = MemoryHistory(limit=limit)
    for t in range(frames):
        history.add(t, {i: [0, t] for i in range(1, objects + 1)})
    for moments in history.moments.values():
        kept = [t for t, _ in moments]
        assert len(kept) <= limit
        assert kept == list(range(0, frames, history.every))
        assert len(kept) >= min(frames, half)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_ages_of_chosen_templates_only(held: list[int]) -> None:
    history = MemoryHistory(ages=10)
    history.add(20, {1: [0, 20, *held]})
    past = [20 - f for f in held if f < 20]
    share = history.share_of_ages()
    assert share.sum() == pytest.approx(1 if past else 0)
    for age in range(11):
        counted = sum(min(a, 10) == age for a in past)
        assert share[age] == pytest.approx(counted / max(1, len(past)))


@pytest.mark.parametrize("objects", [0, 1, 6])
def test_the_picture_opens(objects: int, tmp_path: Path) -> None:
    history = MemoryHistory()
    for t in range(5):
        history.add(t, {i: [0, t, -1, max(0, t - 2)] for i in range(1, objects + 1)})
    plot_memory(history, tmp_path / "memory.png")
    with Image.open(tmp_path / "memory.png") as image:
        pixels = np.array(image.convert("L"))
    assert pixels.std() > 5
    assert [p.name for p in tmp_path.iterdir()] == ["memory.png"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="cannot write"):
        plot_memory(MemoryHistory(), tmp_path / "none" / "memory.png")
