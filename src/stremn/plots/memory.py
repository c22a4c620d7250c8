"""Which frame sits in which slot over time, and how old templates are (M12, Sec. 4.3, Fig. 6 and 7)."""

from pathlib import Path
from typing import Any

import numpy as np

from stremn.files.atomic import replacing

__all__ = ["MemoryHistory", "plot_memory"]


class MemoryHistory:
    """What the memory held over a stream of any length, in bounded space.

    When ``limit`` moments are stored, every second one is dropped and from then on half as many are taken.

    Args:
        limit: most moments kept for an object, even.
        ages: ages are counted one by one up to this many frames; older templates share the last bin.
    """

    def __init__(self, limit: int = 1024, ages: int = 512) -> None:
        """Empty."""
        self.limit, self.every = limit, 1
        self.moments: dict[int, list[tuple[int, list[int]]]] = {}
        self.ages = np.zeros(ages + 1, np.int64)

    def add(self, frame_index: int, slots: dict[int, list[int]]) -> None:
        """Take in the frame index of every slot (-1 = empty) of every object after ``frame_index``."""
        for held in slots.values():
            # Sec. 4.3 leaves out the first and the previous frame: they are there by construction.
            ages = [frame_index - f for f in held[1:] if 0 <= f < frame_index]
            np.add.at(self.ages, np.minimum(ages, len(self.ages) - 1).astype(int), 1)
        if frame_index % self.every:
            return
        for object_id, held in slots.items():
            self.moments.setdefault(object_id, []).append((frame_index, held))
        if any(len(m) > self.limit for m in self.moments.values()):
            self.every *= 2
            self.moments = {
                i: [m for m in moments if m[0] % self.every == 0] for i, moments in self.moments.items()
            }

    def share_of_ages(self) -> np.ndarray:
        """``d^K[t]``: share of chosen templates that lie ``t`` frames before the query, sum 1 (or all 0)."""
        return self.ages / max(1, self.ages.sum())


def plot_memory(history: MemoryHistory, path: Path | str, *, most_objects: int = 4) -> None:
    """Draw the history as a PNG: a panel for each object, and the ages of the chosen templates.

    Args:
        history: what to draw.
        path: the file to be, written beside and renamed.
        most_objects: panels at most; the first ids are drawn.

    Raises:
        stremn.errors.StremnError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    ids = sorted(history.moments)[:most_objects]
    figure = Figure(figsize=(9, 2.6 * (len(ids) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(ids) + 1, 1, squeeze=False)[:, 0]
    for panel, object_id in zip(panels, ids):
        _draw_slots(panel, object_id, history.moments[object_id])
    more = len(history.moments) - len(ids)
    if ids:
        panels[0].legend(loc="upper left", fontsize=8, ncols=3, frameon=False)
        panels[len(ids) - 1].set_xlabel("frame" + (f" (and {more} more objects)" if more else ""))
    _draw_ages(panels[-1], history)
    with replacing(Path(path)) as part:
        figure.savefig(part, dpi=110, format="png")


def _draw_slots(panel: Any, object_id: int, moments: list[tuple[int, list[int]]]) -> None:
    """One line per slot: over time, the frame that it holds."""
    frames = np.array([frame for frame, _ in moments])
    slots = max(len(held) for _, held in moments)
    held = np.full((len(moments), slots), np.nan)
    for row, (_, values) in enumerate(moments):
        held[row, : len(values)] = [np.nan if v < 0 else v for v in values]
    for slot in range(slots):
        kind = {0: "first frame", 1: "latest frame"}.get(slot, f"chosen slot {slot - 1}")
        style = {0: ("black", 1.5), 1: ("0.6", 1.0)}.get(slot, (f"C{(slot - 2) % 10}", 1.8))
        label = kind if slot < 8 else None
        panel.step(frames, held[:, slot], where="post", color=style[0], lw=style[1], label=label)
    panel.set_ylabel(f"object {object_id}\nframe in slot")
    panel.set_title("which frame sits in which slot", fontsize=9, loc="right")
    panel.margins(x=0.01)


def _draw_ages(panel: Any, history: MemoryHistory) -> None:
    share = history.share_of_ages()
    last = int(np.flatnonzero(share).max(initial=1))
    panel.bar(np.arange(1, last + 1), share[1 : last + 1], width=1.0, color="C0")
    panel.set_xlabel("age of a chosen template in frames")
    panel.set_ylabel("share $d^K[t]$")
    panel.margins(x=0.01)
