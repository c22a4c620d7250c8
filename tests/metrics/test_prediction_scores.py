"""Scores of predicted video against values by hand, torchmetrics and scikit-image."""

import json
import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.errors import StremnError
from stremn.metrics.prediction.frames import (
    CONVENTIONS,
    FIGURES,
    frame_errors,
    psnr,
    ssim,
    uniform_ssim,
    wrapped_psnr,
)
from stremn.metrics.prediction.scores import PredictionScorer, PredictionScores, score_frames


def videos(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def score(prediction: torch.Tensor, truth: torch.Tensor) -> PredictionScores:
    scorer = PredictionScorer(conventions=CONVENTIONS)
    scorer.add(prediction, truth)
    return scorer.result()


def test_identical_frames() -> None:
    frames = videos(0, 2, 3, 3, 16, 20)
    scores = score(frames, frames.clone())
    assert (scores.sequences, scores.horizon) == (2, 3)
    for name in ("mse", "mae", "mse_pixel", "mae_pixel"):
        assert scores.curves[name] == (0, 0, 0)
    for name, figure in FIGURES.items():
        if name.startswith("psnr"):
            assert scores[name] == pytest.approx(100)
        elif name.startswith("ssim"):
            assert scores[name] == pytest.approx(1, abs=1e-6)
        if figure.convention:
            assert figure.convention in CONVENTIONS


def test_errors_by_hand() -> None:
    truth = torch.zeros(1, 2, 3, 12, 14)
    prediction = truth.clone()
    prediction[0, 0, 0, 0, :4] = 0.5
    prediction[0, 1] = 0.1
    scores = score(prediction, truth)
    pixels = 3 * 12 * 14
    assert scores.curves["mse"] == pytest.approx((4 * 0.25, 0.01 * pixels))
    assert scores.curves["mae"] == pytest.approx((2.0, 0.1 * pixels))
    assert scores.curves["mse_pixel"] == pytest.approx((1 / pixels, 0.01))
    assert scores.curves["psnr"] == pytest.approx((10 * math.log10(pixels), 20))
    assert scores["psnr"] == pytest.approx((10 * math.log10(pixels) + 20) / 2)


def test_mean_of_psnr_is_over_frames_not_over_errors() -> None:
    truth = torch.zeros(2, 1, 1, 12, 12)
    prediction = truth + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1, 1)
    assert score(prediction, truth)["psnr"] == pytest.approx((20 + 40) / 2, rel=1e-6)


@given(st.floats(1e-9, 1.0))
def test_psnr_law(error: float) -> None:
    found = psnr(torch.tensor(error, dtype=torch.float64)).item()
    assert found == pytest.approx(10 * math.log10(1 / error))
    assert psnr(torch.tensor(error / 10, dtype=torch.float64)).item() == pytest.approx(found + 10)


def test_psnr_and_ssim_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    a, b = videos(1, 4, 3, 20, 24), videos(2, 4, 3, 20, 24)
    found = score_frames(a, b)
    for i in range(4):
        expected = peak_signal_noise_ratio(a[i], b[i], data_range=1.0)
        assert found["psnr"][i].item() == pytest.approx(expected.item(), rel=1e-6)
        similarity = structural_similarity_index_measure(a[i : i + 1], b[i : i + 1], data_range=1.0)
        assert found["ssim"][i].item() == pytest.approx(similarity.item(), abs=1e-6)


# scikit-image 0.26: structural_similarity for data ranges 1 and 2, both for real numbers; of 8-bit frames;
# peak_signal_noise_ratio of 8-bit frames; and PSNR of numpy's uint8 arithmetic, which wraps around.
GOLDEN = {
    (1, 20, 24): (
        0.954183129864189,
        0.9548732139723597,
        0.9541316279442784,
        20.857323021229668,
        28.586971306472343,
    ),
    (3, 17, 13): (
        0.9436289283563069,
        0.9444936528984735,
        0.9436634302370231,
        20.14160074953354,
        28.479134360760344,
    ),
}


def golden_frames() -> dict[tuple[int, int, int], tuple[torch.Tensor, torch.Tensor]]:
    rng = np.random.default_rng(0)
    found = {}
    for shape in GOLDEN:
        x = rng.random(shape)
        y = np.clip(x + rng.normal(0, 0.1, shape), 0, 1)
        found[shape] = torch.from_numpy(x)[None], torch.from_numpy(y)[None]
    return found


@pytest.mark.parametrize("shape", GOLDEN)
def test_conventions_agree_with_scikit_image(shape: tuple[int, int, int]) -> None:
    x, y = golden_frames()[shape]
    ssim_1, ssim_2, ssim_8bit, psnr_8bit, psnr_wrapped = GOLDEN[shape]
    assert uniform_ssim(x, y, 1.0).item() == pytest.approx(ssim_1, abs=1e-9)
    found = score_frames(x, y, conventions=list(CONVENTIONS))
    assert found["ssim_openstl"].item() == pytest.approx(ssim_2, abs=1e-9)
    assert found["ssim_simvp"].item() == pytest.approx(ssim_2, abs=1e-9)
    assert found["ssim_predrnn"].item() == pytest.approx(ssim_8bit, abs=1e-9)
    assert found["psnr_predrnn"].item() == pytest.approx(psnr_8bit, abs=1e-6)
    assert found["psnr_simvp"].item() == pytest.approx(psnr_wrapped, abs=1e-6)
    assert found["psnr_openstl"].item() == found["psnr"].item()


def test_wrapped_figures_flatter() -> None:
    x, y = golden_frames()[(1, 20, 24)]
    honest = psnr(frame_errors(x, y)[0] / 480)
    assert wrapped_psnr(x, y) > honest + 5
    # Errors below 16 levels do not wrap.
    small = (x * 0.9) + 8 / 255
    bytes_x, bytes_y = ((f * 255).long().double() / 255 for f in (small, x * 0.9))
    assert wrapped_psnr(small, x * 0.9).item() == pytest.approx(
        psnr(frame_errors(bytes_x, bytes_y)[0] / 480).item()
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(11, 30), st.integers(11, 30))
def test_similarity_is_symmetric_and_bounded(seed: int, height: int, width: int) -> None:
    a, b = videos(seed, 1, 1, height, width), videos(seed + 1, 1, 1, height, width)
    for measure in (ssim, lambda x, y: uniform_ssim(x, y, 1.0)):
        assert measure(a, b).item() == pytest.approx(measure(b, a).item(), abs=1e-6)
        assert -1 <= measure(a, b).item() < 0.9


def test_predictions_are_clipped() -> None:
    truth = videos(3, 1, 2, 1, 12, 12).round()
    assert score(truth * 3 - 1, truth)["mse"] == 0


@pytest.mark.parametrize("batches", [[6], [1] * 6, [4, 2], [1, 3, 2]])
def test_batches_do_not_matter(batches: list[int]) -> None:
    a, b = videos(4, 6, 4, 1, 16, 16), videos(5, 6, 4, 1, 16, 16)
    whole, scorer = score(a, b), PredictionScorer(conventions=CONVENTIONS)
    for x, y in zip(a.split(batches), b.split(batches), strict=True):
        scorer.add(x, y)
    assert scorer.result().sequences == 6
    for name, curve in scorer.result().curves.items():
        assert curve == pytest.approx(whole.curves[name], rel=1e-6), name


def test_curves_are_in_order_of_the_horizon() -> None:
    truth = torch.zeros(2, 3, 1, 12, 12)
    prediction = truth + torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1, 1)
    curve = score(prediction, truth).curves["mae_pixel"]
    assert curve == pytest.approx((0.1, 0.2, 0.3))


def test_large_batches_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = videos(6, 3, 5, 1, 16, 16), videos(7, 3, 5, 1, 16, 16)
    whole = score(a, b)
    monkeypatch.setattr("stremn.metrics.prediction.scores._CHUNK", 4 * 256)
    assert score(a, b).curves["ssim"] == pytest.approx(whole.curves["ssim"], rel=1e-6)


def test_scorer_keeps_no_frames() -> None:
    scorer = PredictionScorer(conventions=CONVENTIONS)
    frames = videos(8, 2, 3, 1, 16, 16)
    gone = weakref.ref(frames)
    scorer.add(frames, frames)
    held = sum(values.numel() for values in scorer._sums.values())
    for _ in range(5):
        scorer.add(videos(9, 2, 3, 1, 16, 16), videos(8, 2, 3, 1, 16, 16))
    assert sum(values.numel() for values in scorer._sums.values()) == held
    del frames
    assert gone() is None


def test_json_says_what_the_conventions_are() -> None:
    scores = score(videos(0, 1, 2, 1, 16, 16), videos(1, 1, 2, 1, 16, 16))
    data = json.loads(json.dumps(scores.to_dict()))
    assert set(data["conventions"]) == {"predrnn", "openstl", "simvp"}
    assert data["means"]["mse"] == pytest.approx(scores["mse"])
    assert PredictionScores.from_dict(data) == scores
    plain = PredictionScorer()
    plain.add(videos(0, 1, 2, 1, 16, 16), videos(1, 1, 2, 1, 16, 16))
    assert plain.result().to_dict()["conventions"] == {}
    assert list(plain.result().curves) == ["mse", "mae", "mse_pixel", "mae_pixel", "psnr", "ssim"]


def test_bad_input() -> None:
    frames = torch.zeros(1, 2, 1, 16, 16)
    with pytest.raises(ValueError, match="truth is"):
        PredictionScorer().add(frames, frames[:, :1])
    with pytest.raises(ValueError, match="truth is"):
        PredictionScorer().add(frames[0], frames[0])
    with pytest.raises(StremnError, match="diverged"):
        PredictionScorer().add(frames * float("nan"), frames)
    for truth in (frames + 255, frames * float("nan")):
        with pytest.raises(StremnError, match="true frames hold values outside of 0 to 1"):
            PredictionScorer().add(frames, truth)
    with pytest.raises(StremnError, match="10x16 are too small for SSIM"):
        PredictionScorer().add(frames[..., :10], frames[..., :10])
    with pytest.raises(StremnError, match="no sequence to score"):
        PredictionScorer().result()
    with pytest.raises(StremnError, match="'kth': try predrnn, openstl, simvp"):
        PredictionScorer(conventions=["kth"])
    scorer = PredictionScorer()
    scorer.add(frames, frames)
    with pytest.raises(ValueError, match="3 frames predicted, 2 before"):
        scorer.add(torch.zeros(1, 3, 1, 16, 16), torch.zeros(1, 3, 1, 16, 16))


def test_half_precision() -> None:
    a, b = videos(10, 1, 2, 1, 16, 16), videos(11, 1, 2, 1, 16, 16)
    assert score(a.half(), b)["mse"] == pytest.approx(score(a, b)["mse"], rel=1e-3)
