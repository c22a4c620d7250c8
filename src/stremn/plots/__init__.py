"""Pictures of what a run did. Matplotlib is imported only when one is drawn."""

from stremn.plots.frames import StripColumn, film_strip, side_by_side
from stremn.plots.memory import MemoryHistory, plot_memory
from stremn.plots.tables import Bar, plot_ages, plot_horizon, plot_rows

__all__ = [
    "Bar",
    "MemoryHistory",
    "StripColumn",
    "film_strip",
    "plot_ages",
    "plot_horizon",
    "plot_memory",
    "plot_rows",
    "side_by_side",
]
