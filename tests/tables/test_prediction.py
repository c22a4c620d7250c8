"""Table 5 shows what a session foresees: laws that figures obey, and figures by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from small_data import write_digits
from stremn.memory import POLICIES
from stremn.metrics.prediction.scores import PredictionScorer, PredictionScores
from stremn.models import Predictor, create_model
from stremn.sessions import PredictionSession
from stremn.sessions.settings import PredictionSettings
from stremn.tables import (
    Line,
    PredictClips,
    ResultStore,
    Row,
    TestClips,
    Trial,
    Wanted,
    base_trial,
    frames_to_run,
    open_clips,
    parts_of,
    run,
    summarise,
)
from stremn.tables.baselines import BASELINES
from stremn.tables.prediction import PART, baseline_rows, least_gain, predict_clip

SETTINGS = PredictionSettings(size=0, device="cpu", precision="fp32")
COPY, FLOW = (row.trials[0] for row in baseline_rows())


@pytest.fixture(scope="module")
def network() -> Predictor:
    torch.manual_seed(0)
    return create_model("stremn-predict-mnist", widths=(8,) * 6, key_dim=8, value_dim=8, update_dim=8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "digits")


def clips_of(digits: Path, count: int = 2, observe: int = 3, horizon: int = 3) -> TestClips:
    wanted = Wanted((str(digits),), observe, horizon, 32, count, digits=(0, None))
    return open_clips(wanted, grey=True)


def lines_of(test: TestClips, network: Predictor, *trials: Trial[PredictionSettings]) -> list[Line]:
    rows = [Row(str(number), (trial,)) for number, trial in enumerate(trials)]
    predict = PredictClips({trial.weights: network for trial in trials})
    return summarise(rows, run(trials, parts_of(test), ResultStore(None, PredictionScores), predict))


def as_video(frames: np.ndarray) -> torch.Tensor:
    """``(N, h, w)`` uint8 as a sequence to be scored."""
    return torch.from_numpy(frames)[None, :, None] / 255


def test_the_figures_are_those_of_a_session_and_of_a_copied_frame(digits: Path, network: Predictor) -> None:
    test = clips_of(digits)
    ours, copy = lines_of(test, network, base_trial(network, SETTINGS), COPY)
    by_hand = {line.name: PredictionScorer() for line in (ours, copy)}
    session = PredictionSession(network, size=0, device="cpu", precision="fp32")
    for number in test.numbers:
        clip = test.read(number)
        session.reset()
        for frame in clip[:3]:
            session.observe(frame)
        by_hand[ours.name].add(as_video(session.predict(3)), as_video(clip[3:]))
        by_hand[copy.name].add(as_video(clip[[2, 2, 2]]), as_video(clip[3:]))
    for line in (ours, copy):
        (score,) = line.scores
        assert score == by_hand[line.name].result()
    assert not copy.ages.any()
    assert copy.to_dict()["weights_sha256"] is None


def test_copying_a_still_video_is_perfect(tmp_path: Path, network: Predictor) -> None:
    sequences = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    np.save(tmp_path / "still.npy", np.repeat(sequences, 20, axis=0))
    test = open_clips(Wanted((str(tmp_path / "still.npy"),), 2, 2), grey=True)
    (line,) = lines_of(test, network, COPY)
    assert (line.mean("mse"), line.mean("mae")) == (0, 0)
    assert line.mean("ssim") == pytest.approx(1)
    assert line.scores[0].curves["psnr"] == (100.0, 100.0)


def test_with_one_slot_all_that_always_replace_are_alike(digits: Path, network: Predictor) -> None:
    names = [n for n, p in POLICIES.items() if p.bounded and n != "random-select"]
    base = base_trial(network, replace(SETTINGS, slots=1))
    lines = lines_of(clips_of(digits), network, *(base.changed(policy=name) for name in names))
    assert len({line.scores[0].curves["mse"] for line in lines}) == 1
    # Whatever the policy, the one template is that of the frame before.
    assert all(line.ages.tolist() == [0, 1] for line in lines)


def test_ages_are_those_of_the_templates_that_predictions_are_read_from(
    digits: Path, network: Predictor
) -> None:
    base = base_trial(network, replace(SETTINGS, slots=2))
    trials = [base.changed(policy=name) for name in ("oldest", "first-and-last", "every-nth")]
    queue, ends, growing = (line.ages for line in lines_of(clips_of(digits, 2, 4, 4), network, *trials))
    assert queue.tolist() == [0, 0.5, 0.5]
    # Queries are frames 3 to 6.
    assert ends == pytest.approx([0, 1 / 2, 0, *[1 / 8] * 4])
    assert growing * 18 == pytest.approx([0, 4, 4, 4, 3, 2, 1])


def test_a_single_frame_is_looked_up_in_nothing(digits: Path, network: Predictor) -> None:
    clip = clips_of(digits).read(0)
    found, ages = predict_clip(PredictionSession(network, SETTINGS), clip[:1], 2)
    assert (found.shape, ages) == ((2, 32, 32), [1])


def test_random_policies_repeat_themselves_by_seed_and_differ_in_every_clip(
    digits: Path, network: Predictor
) -> None:
    test = clips_of(digits, 2, 6, 3)
    base = base_trial(network, replace(SETTINGS, policy="random-drop", slots=2))
    trials = [base, base.changed(seed=1)]
    first, second = (line.scores for line in lines_of(test, network, *trials))
    assert first != second
    assert [line.scores for line in lines_of(test, network, *trials)] == [first, second]
    # What a clip is scored does not depend on the clips before it.
    last = replace(test, numbers=test.numbers[1:])
    rest, whole = (lines_of(clips, network, base)[0].scores[0].curves["mse"] for clips in (last, test))
    alone = lines_of(replace(test, numbers=test.numbers[:1]), network, base)[0].scores[0].curves["mse"]
    assert np.mean([rest, alone], axis=0) == pytest.approx(np.array(whole))


def test_an_interrupted_table_goes_on_at_its_part(digits: Path, tmp_path: Path, network: Predictor) -> None:
    test, path, trials = clips_of(digits, PART + 5), tmp_path / "results.jsonl", [COPY]
    parts, counted = parts_of(test), list[int]()
    assert [part.frames for part in parts] == [3 * PART, 15]

    def stop(frames: int) -> None:
        counted.append(frames)
        if len(counted) == PART + 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(trials, parts, ResultStore(path, PredictionScores), PredictClips({}, stop))
    store, more = ResultStore(path, PredictionScores), list[int]()
    assert frames_to_run(trials, parts, store) == 15
    results = run(trials, parts, store, PredictClips({}, more.append))
    assert sum(more) == 15
    (line,) = summarise(baseline_rows()[:1], results)
    scorer = PredictionScorer()
    for number in test.numbers:
        clip = test.read(number)
        scorer.add(as_video(clip[[2, 2, 2]]), as_video(clip[3:]))
    assert line.scores[0].sequences == PART + 5
    for name, curve in scorer.result().curves.items():
        assert line.scores[0].curves[name] == pytest.approx(curve)


def test_the_worst_clip_is_named_by_its_gain(digits: Path, network: Predictor) -> None:
    test = clips_of(digits, 3)
    lines = lines_of(test, network, COPY, FLOW)
    by_hand = []
    for number in test.numbers:
        clip, each = test.read(number), []
        for foresee in BASELINES.values():
            scorer = PredictionScorer()
            scorer.add(as_video(foresee(clip[:3], 3)), as_video(clip[3:]))
            each.append(scorer.result()["psnr"])
        by_hand.append(each[1] - each[0])
    assert len({round(gain, 2) for gain in by_hand}) > 1
    assert least_gain(lines[1], lines[0]) == pytest.approx(min(by_hand), abs=1e-3)


def test_other_clips_have_other_results(digits: Path) -> None:
    tests = [clips_of(digits), clips_of(digits, 1), clips_of(digits, 2, 2), clips_of(digits, 2, 3, 2)]
    assert len({trial.key(part) for trial in (COPY, FLOW) for test in tests for part in parts_of(test)}) == 8
