"""What the paper's tables say, as printed there, and figures of others. The one place of these numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "MOVING_MNIST",
    "MOVING_MNIST_SOURCE",
    "PREDICTION",
    "PREDICTION_DATA",
    "TABLES",
    "Figures",
    "PaperTable",
    "PredictionFigures",
    "SeenFigures",
]


@dataclass(frozen=True)
class Figures:
    """A row of a table in percent: J mean, F mean and their mean; ``None`` where it is not printed.

    ``label`` is the paper's own name of the row where ours says less.
    """

    j: float | None
    f: float | None
    j_and_f: float | None
    label: str | None = None

    def fractions(self) -> dict[str, float | None]:
        """Fractions of 1 under the names that our scores have."""
        values = {"j_mean": self.j, "f_mean": self.f, "j_and_f": self.j_and_f}
        return {name: None if value is None else round(value / 100, 4) for name, value in values.items()}


@dataclass(frozen=True)
class SeenFigures:
    """The same of YouTube-VOS: of categories that are in training and of others, and the mean of the four."""

    j_seen: float
    f_seen: float
    j_unseen: float
    f_unseen: float
    g: float
    label: str | None = None

    def fractions(self) -> dict[str, float | None]:
        """Fractions of 1 under the names that our scores have."""
        return {name: round(value / 100, 4) for name, value in vars(self).items() if name != "label"}


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: what it compares, on what data by which weights, and its rows.

    A row goes by our name of its policy, number of slots or way of testing. ``test_dev`` has the columns of
    DAVIS 2017 test-dev where ``rows`` are of validation.
    """

    title: str
    data: str
    rows: Mapping[str, Figures | SeenFigures]
    test_dev: dict[str, Figures] = field(default_factory=dict)


TABLES = {
    1: PaperTable(
        "memory update strategies",
        "DAVIS 2017 test-dev, stremn-r50 of the paper",
        {
            "oldest": Figures(73.3, 80.0, 76.7, "(A) remove oldest"),
            "newest": Figures(72.9, 79.2, 76.0, "(B) remove newest"),
            "random-drop": Figures(72.4, 78.7, 75.5, "(C) random drop"),
            "random-select": Figures(73.7, 80.1, 76.9, "(D) random select"),
            "first-and-last": Figures(71.5, 78.8, 75.2, "(E) first and last frame"),
            "most-similar": Figures(73.5, 80.2, 76.9, "(F) drop most similar"),
            "learned": Figures(74.8, 81.8, 78.3, "(ours) learned"),
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
    ),
    # The paper post-processes everything (Sec. 4.1.1), so its rows stand beside ours with post-processing;
    # those of STM are STM's own. Its constant memory keeps the first and the previous frame.
    3: PaperTable(
        "ways of testing",
        "DAVIS 2017 validation, stremn-r50 of the paper; growing memory, and first and latest frame, are STM",
        {
            "single scale, post-processed": Figures(81.3, 86.1, 83.7),
            "multi-scale, post-processed": Figures(83.4, 88.2, 85.8),
            "growing memory": Figures(79.2, 84.3, 81.8),
            "first and latest frame": Figures(77.7, None, None),
        },
        {
            "single scale, post-processed": Figures(74.8, 81.8, 78.3),
            "multi-scale, post-processed": Figures(75.6, 82.7, 79.1),
            "growing memory": Figures(69.3, 75.2, 72.2),
        },
    ),
    4: PaperTable(
        "YouTube-VOS",
        "YouTube-VOS 2018 validation, stremn-r50 of the paper",
        {
            "STReMN": SeenFigures(79.6, 83.8, 76.1, 84.1, 80.9),
            "STReMN-MS": SeenFigures(80.7, 85.0, 77.6, 85.5, 82.2),
        },
    ),
    6: PaperTable(
        "memory fusion",
        "DAVIS 2017 test-dev, a network before the learned choice (Appendix B)",
        {
            "with fusion, least-similar": Figures(None, None, 76.7),
            "without fusion": Figures(None, None, 76.7),
        },
    ),
}


@dataclass(frozen=True)
class PredictionFigures:
    """A row of Table 5; ``None`` where it is not printed.

    Of Human3.6M ``mse`` is a tenth of the squared error and ``mae`` a hundredth of the absolute error, summed
    over the pixels of a frame, and ``ssim``; of KTH PSNR in dB, SSIM and LPIPS.
    """

    mse: float | None
    mae: float | None
    ssim: float | None
    kth_psnr: float | None = None
    kth_ssim: float | None = None
    kth_lpips: float | None = None

    def of(self, kind: str) -> dict[str, float | None]:
        """What is printed of a kind of data (``human36m`` or ``kth``), in our units by our names.

        Those of KTH are computed as PredRNN's are, whose row it cites; of other data there is nothing.
        """
        if kind == "human36m":
            mse, mae = (
                None if value is None else round(unit * value, 2)
                for value, unit in ((self.mse, 10), (self.mae, 100))
            )
            return {"mse": mse, "mae": mae, "ssim": self.ssim}
        if kind == "kth":
            names = ("psnr_predrnn", "ssim_predrnn", "lpips_predrnn")
            return dict(zip(names, (self.kth_psnr, self.kth_ssim, self.kth_lpips), strict=True))
        return {}


PREDICTION_DATA = "Human3.6M walking, 4 frames to 4 (MSE/10, MAE/100, SSIM), and KTH, 10 to 20; 128x128"

PREDICTION = {
    "ConvLSTM": PredictionFigures(50.4, 18.9, 0.776, 23.58, 0.712, 0.231),
    "Causal LSTM": PredictionFigures(45.8, 17.2, 0.851),
    "MIM": PredictionFigures(42.9, 17.8, 0.79),
    "E3D-LSTM": PredictionFigures(46.4, 16.6, 0.869),
    "PredRNN": PredictionFigures(48.4, 18.9, 0.781, 27.55, 0.839, 0.204),
    "MCnet + Residual": PredictionFigures(None, None, None, 26.29, 0.806),
    "TrajGRU": PredictionFigures(None, None, None, 26.97, 0.790),
    "DFN": PredictionFigures(None, None, None, 27.26, 0.794),
    "Conv-TT-LSTM": PredictionFigures(None, None, None, 27.62, 0.815, 0.204),
    "STReMN": PredictionFigures(37.89, 14.04, 0.906, 27.44, 0.834, 0.134),
}
"""Table 5 of the paper by method."""

MOVING_MNIST = {"ConvLSTM": 103.3, "PredRNN": 56.8, "SimVP": 23.8, "TAU": 19.8}
"""MSE (sum over the pixels of a frame) published for Moving MNIST, by method; not in the paper."""

MOVING_MNIST_SOURCE = (
    "the public Moving MNIST test file, 10 frames to 10, by networks of full size trained to the end, as the "
    "papers of SimVP (CVPR 2022) and TAU (CVPR 2023) list them: not measured here"
)
