"""Scores of predicted videos, frame by frame over the horizon."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from stremn.errors import StremnError
from stremn.metrics.prediction.frames import (
    CONVENTIONS,
    FIGURES,
    Lpips,
    as_bytes,
    frame_errors,
    psnr,
    ssim,
    uniform_ssim,
    wrapped_psnr,
)

__all__ = ["PredictionScorer", "PredictionScores", "score_errors", "score_frames"]

_CHUNK = 2**20  # values scored at once, which bounds the memory of SSIM


@dataclass(frozen=True)
class PredictionScores:
    """Scores of a set of sequences by how far ahead was predicted.

    Attributes:
        sequences: how many were scored.
        curves: by the name of the figure (``FIGURES``), its mean over the sequences for 1, 2, …, N frames
            ahead.
    """

    sequences: int
    curves: Mapping[str, tuple[float, ...]]

    @property
    def horizon(self) -> int:
        """N, frames predicted."""
        return len(next(iter(self.curves.values())))

    @property
    def means(self) -> dict[str, float]:
        """By the name of the figure, its mean over all predicted frames."""
        return {name: sum(curve) / len(curve) for name, curve in self.curves.items()}

    def __getitem__(self, name: str) -> float:
        """The mean of one figure."""
        return self.means[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries: ``sequences``, ``horizon``, ``means``, ``curves`` and ``conventions``."""
        used = {FIGURES[name].convention for name in self.curves}
        return {
            "sequences": self.sequences,
            "horizon": self.horizon,
            "means": self.means,
            "curves": {name: list(curve) for name, curve in self.curves.items()},
            "conventions": {name: text for name, text in CONVENTIONS.items() if name in used},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` gave; a KeyError if a part is missing."""
        return cls(int(data["sequences"]), {name: tuple(curve) for name, curve in data["curves"].items()})

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The scores of all sequences that several scores are of, one or more of the same figures."""
        weights = [part.sequences for part in parts]
        curves = {
            name: tuple(np.average([part.curves[name] for part in parts], axis=0, weights=weights).tolist())
            for name in parts[0].curves
        }
        return cls(sum(weights), curves)


class PredictionScorer:
    """Takes in predictions and keeps sums only, so that any number of sequences can be scored.

    Figures, each a mean over sequences of a score per frame, of frames clipped to [0, 1]: ``mse`` and ``mae``
    (sums over the pixels and channels of a frame, as in the tables of Moving MNIST and Human3.6M), both per
    pixel, ``psnr`` (at most 100 dB), ``ssim`` (Gaussian window), ``lpips`` if asked for, and those of the
    conventions asked for.

    Args:
        conventions: names of ``CONVENTIONS``.
        lpips: the network; None leaves LPIPS out.

    Raises:
        StremnError: if a convention is unknown.

    Examples:
        >>> scorer = PredictionScorer()
        >>> truth = torch.rand(2, 3, 1, 16, 16)  # two sequences of three grey frames
        >>> scorer.add(truth, truth)
        >>> scorer.result().sequences, scorer.result()["mse"]
        (2, 0.0)
    """

    def __init__(self, *, conventions: Collection[str] = (), lpips: Lpips | None = None) -> None:
        if unknown := set(conventions) - set(CONVENTIONS):
            raise StremnError(
                f"no convention of scores is called '{sorted(unknown)[0]}': try {', '.join(CONVENTIONS)}"
            )
        self.conventions, self.lpips = tuple(c for c in CONVENTIONS if c in conventions), lpips
        self._sequences = 0
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, prediction: Tensor, truth: Tensor) -> None:
        """Take in a batch of sequences.

        Args:
            prediction: ``(B, N, C, h, w)``, about [0, 1], of any float type.
            truth: of the same shape, in [0, 1].

        Raises:
            ValueError: if the shapes differ, or N differs from the batches before.
            StremnError: if the prediction is not finite, or the frames too small for a figure.
        """
        if prediction.ndim != 5 or prediction.shape != truth.shape:
            raise ValueError(f"prediction is {tuple(prediction.shape)}, truth is {tuple(truth.shape)}")
        batch, horizon = prediction.shape[:2]
        flat = prediction.flatten(0, 1), truth.to(prediction.device).flatten(0, 1)
        chunk = max(1, _CHUNK // flat[0][0].numel())
        parts = [
            score_frames(*pair, conventions=self.conventions, lpips=self.lpips)
            for pair in zip(*(frames.split(chunk) for frames in flat), strict=True)
        ]
        for name in parts[0]:
            values = torch.cat([part[name] for part in parts]).reshape(batch, horizon).sum(dim=0)
            known = self._sums.get(name)
            if known is not None and known.shape != values.shape:
                raise ValueError(f"{horizon} frames predicted, {len(known)} before")
            self._sums[name] = values if known is None else known + values
        self._sequences += batch

    def result(self) -> PredictionScores:
        """The scores of all sequences so far.

        Raises:
            StremnError: if there is none.
        """
        if not self._sequences:
            raise StremnError("there is no sequence to score: give videos of enough frames")
        count = self._sequences
        return PredictionScores(count, {n: tuple((s / count).tolist()) for n, s in self._sums.items()})


def score_frames(
    prediction: Tensor, truth: Tensor, *, conventions: Collection[str] = (), lpips: Lpips | None = None
) -> dict[str, Tensor]:
    """All figures of single frames, see ``PredictionScorer``.

    Args:
        prediction: ``(N, C, h, w)``, clipped here to [0, 1].
        truth: of the same shape, in [0, 1].
        conventions: names of ``CONVENTIONS``.
        lpips: the network; None leaves LPIPS out.

    Returns:
        By the name of the figure, ``(N,)`` float64 in memory of the host.

    Raises:
        StremnError: if the prediction is not finite, or the frames too small for a figure.
    """
    figures = score_errors(prediction, truth)
    x, y = _clipped(prediction, truth)
    figures["ssim"] = ssim(x, y)
    if lpips:
        figures["lpips"] = lpips(x, y)
    if "predrnn" in conventions:
        a, b = (as_bytes(frames).to(frames.dtype) / 255 for frames in (x, y))
        figures["psnr_predrnn"] = score_errors(a, b)["psnr"]
        figures["ssim_predrnn"] = uniform_ssim(a, b, 1.0)
        if lpips:
            figures["lpips_predrnn"] = lpips(x, y, scaled=False)
    if "openstl" in conventions:
        figures["psnr_openstl"] = figures["psnr"]
        figures["ssim_openstl"] = uniform_ssim(x, y, 2.0)
    if "simvp" in conventions:
        figures["psnr_simvp"] = wrapped_psnr(x, y)
        figures["ssim_simvp"] = uniform_ssim(x, y, 2.0)
    return _on_host(figures)


def score_errors(prediction: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The figures of single frames that need no window: MSE, MAE and PSNR, as ``score_frames`` gives them.

    Args:
        prediction: ``(N, C, h, w)``, clipped here to [0, 1].
        truth: of the same shape, in [0, 1].

    Raises:
        StremnError: if the prediction is not finite, or the truth no frame.
    """
    x, y = _clipped(prediction, truth)
    squared, absolute = frame_errors(x, y)
    pixels = x[0].numel()
    figures = {"mse": squared, "mae": absolute, "mse_pixel": squared / pixels}
    return _on_host(figures | {"mae_pixel": absolute / pixels, "psnr": psnr(squared / pixels)})


def _clipped(prediction: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.promote_types(prediction.dtype, torch.float32)
    x, y = prediction.to(kind), truth.to(kind)
    if not bool(x.isfinite().all()):
        raise StremnError("the prediction holds values that are no numbers: the model has diverged")
    if not bool(((y >= 0) & (y <= 1)).all()):
        raise StremnError("the true frames hold values outside of 0 to 1: divide those of 8 bits by 255")
    return x.clamp(0, 1), y.clamp(0, 1)


def _on_host(figures: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.to("cpu", torch.float64) for name, values in figures.items()}
