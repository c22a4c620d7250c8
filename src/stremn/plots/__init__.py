"""Pictures of what a run did. Matplotlib is imported only when one is drawn."""

from stremn.plots.memory import MemoryHistory, plot_memory
from stremn.plots.tables import Bar, plot_ages, plot_rows

__all__ = ["Bar", "MemoryHistory", "plot_ages", "plot_memory", "plot_rows"]
