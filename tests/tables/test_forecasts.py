"""Predictions over clips: laws that figures obey, and what is there is not run again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stremn.data import FrameClip
from stremn.files.tensors import tensors_digest
from stremn.memory import POLICIES, Rules
from stremn.metrics.prediction.scores import PredictionScorer
from stremn.models import Predictor, PredictorState, RecurrentConfig, create_model
from stremn.models.rollout import forecast_clip
from stremn.tables import Forecast, ForecastSetting, ForecastTrial, ResultStore, TestClips, run_forecasts
from stremn.tables import prediction as module
from stremn.tables.clips import Protocol
from stremn.tables.forecast_rows import ForecastLine, ForecastRow, copy_row, summarise_forecasts
from stremn.tables.prediction import COPY_LAST, frames_to_predict

SIZE = 16
COPY = ForecastTrial(COPY_LAST)


class Source(torch.utils.data.Dataset[FrameClip]):
    """Clips from memory."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    def __getitem__(self, request: tuple[int, int, int]) -> FrameClip:
        return FrameClip(self.frames[request[0]])


class Shift(Predictor):
    """Every frame is the one before, moved to the right by so many pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__(RecurrentConfig(architecture="convlstm", patch=1))
        self.pixels = pixels

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        return PredictorState({"frame": frame})

    def predict(self, state: PredictorState) -> Tensor:
        return state.carried["frame"].roll(self.pixels, dims=-1)


def moving(pixels: int, clips: int = 5, frames: int = 6, seed: int = 0) -> Tensor:
    """Noise that moves to the right."""
    first = torch.rand(clips, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return torch.stack([first.roll(t * pixels, dims=-1) for t in range(frames)], dim=1)


def setting_of(frames: Tensor, model: Predictor, observe: int = 3, batch: int = 2) -> ForecastSetting:
    protocol = Protocol(observe, frames.shape[1] - observe, SIZE, grey=True)
    facts = {"digest": tensors_digest({"frames": frames}), "observe": observe}
    clips = TestClips("videos", protocol, facts, "noise", Source(frames), tuple(range(len(frames))))
    return ForecastSetting(clips, {"model": model}, "cpu", "fp32", batch)


def lines_of(setting: ForecastSetting, *trials: ForecastTrial) -> list[ForecastLine]:
    rows = [ForecastRow(str(number), (trial,)) for number, trial in enumerate(trials)]
    return summarise_forecasts(rows, run_forecasts(setting, trials, ResultStore(None, Forecast)))


@pytest.fixture(scope="module")
def network() -> Predictor:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return create_model("stremn-predict-mnist", widths=(8,) * 6, key_dim=8, value_dim=8, update_dim=8)


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_copying_the_last_frame_of_a_still_video_is_perfect(seed: int, clips: int, observe: int) -> None:
    setting = setting_of(moving(0, clips, seed=seed), Shift(0), observe)
    copied, predicted = lines_of(setting, COPY, ForecastTrial("model"))
    for line in (copied, predicted):
        assert (line.mean("mse"), line.mean("mae")) == (0, 0)
        assert line.mean("ssim") == pytest.approx(1)
        assert line.curve("psnr") == (100.0,) * (6 - observe)


def test_a_model_that_knows_the_movement_is_perfect_and_copying_is_not() -> None:
    copied, perfect, wrong = (
        lines_of(setting_of(moving(1), Shift(pixels)), trial)[0]
        for pixels, trial in ((1, COPY), (1, ForecastTrial("model")), (2, ForecastTrial("model")))
    )
    assert perfect.mean("mse") == 0
    assert copied.mean("mse") > 10
    assert wrong.mean("mse") > 10
    # One frame ahead both are off by one pixel.
    assert wrong.curve("mse")[0] == pytest.approx(copied.curve("mse")[0])


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_parts_add_up_to_the_whole(batch: int, network: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART", 3)
    frames = moving(1, clips=7)
    setting = setting_of(frames, network, batch=batch)
    assert [len(part) for part in setting.parts] == [3, 3, 1]
    (line,) = lines_of(setting, ForecastTrial("model", "learned", 2))
    scorer = PredictionScorer()
    with torch.inference_mode():
        scorer.add(forecast_clip(network.eval(), frames, 3, network.rules(2, "learned")), frames[:, 3:])
    assert line.scores[0].sequences == 7
    for name, curve in scorer.result().curves.items():
        assert line.curve(name) == pytest.approx(curve, rel=1e-4), name


def test_with_one_slot_all_that_always_replace_are_alike(network: Predictor) -> None:
    names = [n for n, p in POLICIES.items() if p.bounded and n != "random-select"]
    lines = lines_of(setting_of(moving(1), network), *(ForecastTrial("model", name, 1) for name in names))
    assert len({line.curve("mse") for line in lines}) == 1
    # Whatever the policy, the one template is that of the frame before.
    assert all(line.ages.tolist() == [0, 1] for line in lines)


def test_ages_are_those_of_the_templates_that_predictions_are_read_from(network: Predictor) -> None:
    setting = setting_of(moving(1, frames=8), network, observe=4)
    trials = [ForecastTrial("model", name, 2) for name in ("oldest", "first-and-last", "every-nth")]
    queue, ends, growing = (line.ages for line in lines_of(setting, *trials))
    assert queue.tolist() == [0, 0.5, 0.5]
    # Queries are frames 3 to 6.
    assert ends == pytest.approx([0, 1 / 2, 0, *[1 / 8] * 4])
    assert growing * 18 == pytest.approx([0, 4, 4, 4, 3, 2, 1])


def test_random_policies_repeat_themselves_by_seed(network: Predictor) -> None:
    setting = setting_of(moving(1, frames=12), network)
    trials = [ForecastTrial("model", "random-drop", 2, seed) for seed in (0, 1)]
    first, second = (line.curve("mse") for line in lines_of(setting, *trials))
    assert first != second
    assert [line.curve("mse") for line in lines_of(setting, *trials)] == [first, second]


def test_an_interrupted_run_goes_on_with_the_same_results(
    network: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 2)
    setting, path = setting_of(moving(1), network), tmp_path / "forecasts.jsonl"
    trials = [COPY, ForecastTrial("model", "random-drop", 2), ForecastTrial("model", "learned", 2)]
    counted: list[int] = []

    def stop(frames: int) -> None:
        counted.append(frames)
        if len(counted) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_forecasts(setting, trials, ResultStore(path, Forecast), stop)
    assert len(path.read_text().splitlines()) == 4
    store = ResultStore(path, Forecast)
    assert frames_to_predict(setting, trials, store) == 3 * (3 * 5 - 8 + 0)
    more: list[int] = []
    found = run_forecasts(setting, trials, store, more.append)
    assert sum(more) == 21
    assert found == run_forecasts(setting, trials, ResultStore(None, Forecast))
    again: list[int] = []
    assert run_forecasts(setting, trials, ResultStore(path, Forecast), again.append) == found
    assert again == []


def test_results_are_found_for_what_they_were_made_with_only(network: Predictor) -> None:
    setting, trial = setting_of(moving(1), network), ForecastTrial("model", "oldest", 2)
    keys = {
        setting.key(trial, 0),
        setting.key(replace(trial, slots=3), 0),
        setting.key(replace(trial, weights="other"), 0),
        setting_of(moving(2), network).key(trial, 0),
        setting_of(moving(1), network, observe=2).key(trial, 0),
        replace(setting, batch=3).key(trial, 0),
        replace(setting, precision="bf16").key(trial, 0),
    }
    assert len(keys) == 7
    # Copying does not depend on how models are run.
    assert replace(setting, batch=3, precision="bf16").key(COPY, 0) == setting.key(COPY, 0)


def test_seeds_are_averaged_with_their_spread(network: Predictor) -> None:
    setting = setting_of(moving(1, frames=12), network)
    seeds = tuple(ForecastTrial("model", "random-drop", 2, seed) for seed in range(3))
    results = run_forecasts(setting, (*seeds, COPY), ResultStore(None, Forecast))
    drawn, copied = summarise_forecasts([ForecastRow("random", seeds, "file"), copy_row()], results)
    values = [results[seed][0].curves["mse"] for seed in seeds]
    assert drawn.curve("mse") == pytest.approx(np.mean(values, axis=0))
    assert drawn.mean("mse") == pytest.approx(np.mean(values))
    assert drawn.spread("mse") == pytest.approx((min(map(np.mean, values)), max(map(np.mean, values))))
    assert drawn.ages.sum() == pytest.approx(1)
    assert not copied.ages.any()
    assert copied.to_dict()["weights_sha256"] is None
