"""Pictures with axes: scores of a table, over the horizon too, ages of templates, a memory's history.

Each is a PNG at ``path``, written beside and renamed; a StremnError tells that it cannot be written.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stremn.files.outputs import replacing
from stremn.memory.history import MemoryHistory

__all__ = ["Bar", "plot_ages", "plot_horizon", "plot_memory", "plot_rows"]

MOST_OBJECTS = 4
"""Ids that a picture of the memory has a panel for."""


@dataclass(frozen=True)
class Bar:
    """A row of a table: our mean over the seeds, the smallest and largest, and the paper's figure if any."""

    name: str
    ours: float
    low: float
    high: float
    paper: float | None = None


def plot_rows(
    bars: Sequence[Bar],
    path: Path | str,
    *,
    title: str,
    ours: str,
    paper: str | None = None,
    axis: str = "J&F in percent",
) -> None:
    """Draw the rows as points, ours on the left and the paper's on the right, each on an axis of its own.

    The two were measured on different data, so only their order and distances are to be compared.

    Args:
        bars: the rows, first on top.
        path: of the PNG.
        title: of the picture.
        ours: what our figures were measured on.
        paper: what the paper's were measured on; ``None`` where it has none, whose panel is then left out.
        axis: what is measured.
    """
    labels = [f"ours: {ours}"] + ([] if paper is None else [f"paper: {paper}"])
    width = 7 if paper is None else 10
    figure, panels = _panels(1, len(labels), (width, 1.6 + 0.34 * len(bars)), sharey=True)
    places = np.arange(len(bars))
    values, low, high = np.array([(bar.ours, bar.low, bar.high) for bar in bars]).T
    panels[0].errorbar(values, places, xerr=(values - low, high - values), fmt="o", color="C0", capsize=3)
    panels[0].set_yticks(places, [bar.name for bar in bars])
    panels[0].invert_yaxis()
    if paper is not None:
        printed = [np.nan if bar.paper is None else bar.paper for bar in bars]
        panels[1].plot(printed, places, "D", color="C1", mfc="white")
    for panel, label in zip(panels, labels, strict=True):
        panel.set_xlabel(axis)
        panel.set_title(textwrap.fill(label, 56), fontsize=8, loc="left")
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
        panel.margins(x=0.12, y=0.08)
    _save(figure, path, title)


def plot_horizon(
    panels: Mapping[str, Mapping[str, Sequence[float]]], path: Path | str, *, title: str, note: str
) -> None:
    """Draw how scores fall with the horizon, a line for each row.

    Args:
        panels: by figure, then by row, the scores for 1, 2, …, N frames ahead.
        path: of the PNG.
        title: of the picture.
        note: what was measured.
    """
    figure, places = _panels(1, len(panels), (5.5 * len(panels), 4.2))
    for place, (name, curves) in zip(places, panels.items(), strict=True):
        for row, curve in curves.items():
            place.plot(np.arange(1, len(curve) + 1), curve, "o-", ms=3, lw=1.3, label=row)
        place.set_xlabel("frames ahead")
        place.set_ylabel(name)
        place.xaxis.get_major_locator().set_params(integer=True)
        place.grid(color="0.9")
        place.set_axisbelow(True)
    places[0].legend(fontsize=8, frameon=False)
    _save(figure, path, f"{title}\n{textwrap.fill(note, 110)}", 9)


def plot_ages(shares: Mapping[str, np.ndarray], path: Path | str, *, title: str, bins: int = 60) -> None:
    """Draw d^K[t] of Sec. 4.3 (Fig. 5 of the paper), a panel for each row.

    Args:
        shares: by row, share of chosen templates that lie ``t`` frames before the query, by ``t``.
        path: of the PNG.
        title: of the picture.
        bins: bars at most; neighbouring ages share one where there are more.
    """
    columns = min(2, len(shares))
    lines = -(-len(shares) // columns)
    figure, panels = _panels(lines, columns, (5 * columns, 1.0 + 1.5 * lines), sharex=True)
    last = max([len(share) for share in shares.values()] + [2])
    width = -(-last // bins)
    for panel, (name, share) in zip(panels, shares.items(), strict=False):
        padded = np.pad(share, (0, -len(share) % width))
        summed = padded.reshape(-1, width).sum(axis=1)
        panel.bar(np.arange(len(summed)) * width, 100 * summed, width=width, align="edge", color="C0")
        panel.set_title(name, fontsize=9, loc="right", x=0.98, y=0.78)
        panel.set_xlim(0, last)
        panel.set_ylabel("percent", fontsize=8)
        if not share.any():
            panel.set_yticks([])
            panel.text(0.5, 0.4, "no chosen templates", transform=panel.transAxes, ha="center", color="0.4")
    for panel in panels[len(shares) :]:
        panel.set_axis_off()
    per = "one frame" if width == 1 else f"{width} frames"
    for panel in panels[len(shares) - columns : len(shares)]:
        panel.set_xlabel(f"age of a chosen template in frames, a bar for {per}", fontsize=8)
        panel.tick_params(labelbottom=True)
    _save(figure, path, title)


def plot_memory(history: MemoryHistory, path: Path | str) -> None:
    """Draw a panel for each of the first few ids, and one for the ages of chosen templates."""
    ids = sorted(history.moments)[:MOST_OBJECTS]
    rows = len(ids) + 1
    # Every run of `segment` draws this one; margins that are worked out take longer than all of the rest.
    figure, panels = _panels(rows, 1, (9, 2.6 * rows), fitted=False)
    figure.subplots_adjust(0.12, 0.2 / rows, 0.975, 1 - 0.12 / rows, hspace=0.36)
    for panel, object_id in zip(panels, ids):
        _draw_slots(panel, object_id, history.moments[object_id], history.corrections)
    more = len(history.moments) - len(ids)
    if ids:
        panels[0].legend(loc="upper left", fontsize=8, ncols=3, frameon=False)
        panels[len(ids) - 1].set_xlabel("frame" + (f" (and {more} more objects)" if more else ""))
    share = history.share_of_ages()
    last = int(np.flatnonzero(share).max(initial=1))
    panels[-1].bar(np.arange(1, last + 1), share[1 : last + 1], width=1.0, color="C0")
    panels[-1].set_xlabel("age of a chosen template in frames")
    panels[-1].set_ylabel("share $d^K[t]$")
    panels[-1].margins(x=0.01)
    _save(figure, path)


def _draw_slots(panel: Any, object_id: int, moments: list[tuple[int, list[int]]], corrections: int) -> None:
    """One line per slot: over time, the frame that it holds."""
    frames = np.array([frame for frame, _ in moments])
    slots = max(len(held) for _, held in moments)
    held = np.full((len(moments), slots), np.nan)
    for row, (_, values) in enumerate(moments):
        held[row, : len(values)] = [np.nan if v < 0 else v for v in values]
    chosen = slots - corrections - 2
    kinds = [("first frame", "black", 1.5), ("latest frame", "0.6", 1.0)]
    kinds += [(f"chosen slot {n + 1}", f"C{n % 10}", 1.8) for n in range(chosen)]
    kinds += [(f"correction {n + 1}", "black", 1.0) for n in range(corrections)]
    for slot, (kind, colour, width) in enumerate(kinds):
        label = kind if slot < 8 else None
        panel.step(frames, held[:, slot], where="post", color=colour, lw=width, label=label)
    panel.set_ylabel(f"object {object_id}\nframe in slot")
    panel.set_title("which frame sits in which slot", fontsize=9, loc="right")
    panel.margins(x=0.01)


def _panels(
    rows: int, columns: int, size: tuple[float, float], *, fitted: bool = True, **shared: Any
) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained" if fitted else None)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).ravel()


def _save(figure: Any, path: Path | str, title: str | None = None, size: int = 11) -> None:
    figure.suptitle(title, fontsize=size)
    with replacing(Path(path)) as part:
        figure.savefig(part, dpi=110, format="png")
