"""How much each loss of prediction (Sec. 4.2) weighs: its value, and its gradient at the predicted frames.

    python benchmarks/loss_terms.py DIGITS [--weights 1 1 1]

Digits of an MNIST file move, white on black, and dark before grey patches. A narrow ``stremn-predict`` is
trained on each for some steps; the terms are measured on clips of other digits before and after.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from common import describe_run
from stremn import create_model
from stremn.data import ClipRequest, MovingMnist, read_digits
from stremn.metrics.prediction.scores import PredictionScorer
from stremn.models import Predictor
from stremn.models.predictor import forecast_clip
from stremn.training.prediction.losses import scale_invariant_gradient_loss, shrinkage_loss

NARROW = {"widths": (16, 16, 32, 32, 32, 32), "key_dim": 16, "value_dim": 32, "update_dim": 16}
OBSERVED, FRAMES, SIZE, BATCH, HELD = 4, 8, 64, 2, 16
TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "L1": lambda prediction, truth: shrinkage_loss(prediction, truth, power=1),
    "L2": lambda prediction, truth: shrinkage_loss(prediction, truth, power=2),
    "gradient": scale_invariant_gradient_loss,
}


def clips(digits: MovingMnist, first: int, count: int, grey: bool) -> Tensor:
    """Clips ``(B, T, 1, h, w)``; if ``grey``, digits of 0.15 before smooth patches of 0.4 to 0.8."""
    frames = torch.stack([digits[ClipRequest(first + i, FRAMES, SIZE)].frames for i in range(count)])
    if not grey:
        return frames
    patches = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(first))
    behind = F.interpolate(0.4 + 0.4 * patches, size=SIZE, mode="bilinear")[:, None]
    return behind * (1 - frames) + 0.15 * frames


def measure(name: str, prediction: Tensor, truth: Tensor, weights: list[float]) -> None:
    """Print the value of each term, the norm of its gradient, and its share of the weighted norms."""
    values, norms = [], []
    for term in TERMS.values():
        at = prediction.detach().requires_grad_()
        value = term(at, truth)
        (gradient,) = torch.autograd.grad(value, at)
        values.append(value.item())
        # Times the root of the number of pixels, over which a term is a mean.
        norms.append(gradient.norm().item() * at.numel() ** 0.5)
    weighted = [weight * norm for weight, norm in zip(weights, norms, strict=True)]
    shares = [share / sum(weighted) for share in weighted]
    cells = [f"{v:.4f}, {n:.3g}, {s:.0%}" for v, n, s in zip(values, norms, shares, strict=True)]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def scores(prediction: Tensor, truth: Tensor) -> str:
    scorer = PredictionScorer()
    scorer.add(prediction, truth)
    found = scorer.result()
    return f"SSIM {found['ssim']:.3f}, PSNR {found['psnr']:.1f}"


def forecast(model: Predictor, frames: Tensor) -> Tensor:
    with torch.no_grad():
        return forecast_clip(model.eval(), frames, OBSERVED)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("digits", type=Path, help="MNIST image file")
    parser.add_argument("--weights", type=float, nargs=3, default=[1.0, 1.0, 1.0], metavar=tuple(TERMS))
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    record = describe_run(1, "cpu")
    print("| | " + " | ".join(TERMS) + " |\n|---|---|---|---|")
    train, held = (MovingMnist(read_digits(args.digits, *span), seed=0) for span in ((0, 7000), (7000, 8000)))
    for grey, scene in ((False, "on black"), (True, "on grey")):
        fixed = clips(held, 0, HELD, grey)
        truth = fixed[:, OBSERVED:]
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
        measure(f"{scene}, noise of 0.05", truth + 0.05 * noise, truth, args.weights)
        torch.manual_seed(0)
        model = create_model("stremn-predict", channels=1, **NARROW)
        measure(f"{scene}, untrained", forecast(model, fixed), truth, args.weights)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for step in range(args.steps):
            frames = clips(train, step * BATCH, BATCH, grey)
            found = forecast_clip(model.train(), frames, OBSERVED)
            parts = [term(found, frames[:, OBSERVED:]) for term in TERMS.values()]
            optimizer.zero_grad()
            torch.stack(parts).dot(torch.tensor(args.weights)).backward()
            optimizer.step()
        found = forecast(model, fixed)
        measure(f"{scene}, {args.steps} steps ({scores(found, truth)})", found, truth, args.weights)
    print(
        f"\n{record['date'][:10]}, {record['machine']['cpu']}, {record['commit'][:10]}; `{record['command']}`"
    )


if __name__ == "__main__":
    main()
