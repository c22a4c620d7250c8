"""What the paper's tables 1-3 say, in percent as printed there. The one place of these numbers."""

from dataclasses import dataclass

__all__ = ["TABLES", "Figures", "PaperTable"]


@dataclass(frozen=True)
class Figures:
    """A row of a table in percent: J mean, F mean and their mean; ``None`` where it is not printed."""

    j: float | None
    f: float | None
    j_and_f: float


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: what it compares.
        data: on what, by which weights.
        rows: figures by our name of the row: a policy, a number of slots, a way of testing.
        labels: the paper's own names of rows where ours say less.
    """

    title: str
    data: str
    rows: dict[str, Figures]
    labels: dict[str, str]


TABLES = {
    1: PaperTable(
        "memory update strategies",
        "DAVIS 2017 test-dev, stremn-r50 of the paper",
        {
            "oldest": Figures(73.3, 80.0, 76.7),
            "newest": Figures(72.9, 79.2, 76.0),
            "random-drop": Figures(72.4, 78.7, 75.5),
            "random-select": Figures(73.7, 80.1, 76.9),
            "first-and-last": Figures(71.5, 78.8, 75.2),
            "most-similar": Figures(73.5, 80.2, 76.9),
            "learned": Figures(74.8, 81.8, 78.3),
        },
        {
            "oldest": "(A) remove oldest",
            "newest": "(B) remove newest",
            "random-drop": "(C) random drop",
            "random-select": "(D) random select",
            "first-and-last": "(E) first and last frame",
            "most-similar": "(F) drop most similar",
            "learned": "(ours) learned",
        },
    ),
    2: PaperTable(
        "number of memory slots",
        "DAVIS 2017 test-dev, stremn-r50 of the paper",
        {
            "K = 3": Figures(None, None, 76.3),
            "K = 4": Figures(None, None, 76.9),
            "K = 5": Figures(None, None, 77.8),
            "K = 6": Figures(None, None, 78.3),
            "K = 7": Figures(None, None, 77.3),
        },
        {},
    ),
    # The paper post-processes everything (Sec. 4.1.1), so its rows stand beside ours with post-processing.
    3: PaperTable(
        "ways of testing",
        "DAVIS 2017 validation, stremn-r50 of the paper; growing memory is STM",
        {
            "single scale, post-processed": Figures(81.3, 86.1, 83.7),
            "multi-scale, post-processed": Figures(83.4, 88.2, 85.8),
            "growing memory": Figures(79.2, 84.3, 81.8),
        },
        {},
    ),
}
