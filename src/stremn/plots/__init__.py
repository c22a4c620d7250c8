"""Pictures of what a run did. Matplotlib is imported only when one is drawn."""

from stremn.plots.memory import MemoryHistory, plot_memory

__all__ = ["MemoryHistory", "plot_memory"]
