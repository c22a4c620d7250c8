"""Rows follow the registry and the paper, and what is there is not run again."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stremn.errors import StremnError
from stremn.memory import POLICIES
from stremn.metrics.prediction.scores import PredictionScores
from stremn.models import PREDICTORS, Segmenter, create_model
from stremn.sessions import MULTI_SCALE, ONE_VIEW
from stremn.sessions.settings import PredictionSettings, SegmentationSettings
from stremn.tables import (
    Result,
    ResultStore,
    Row,
    Trial,
    base_trial,
    frames_to_run,
    run,
    summarise,
    table_rows,
)
from stremn.tables.engine import policy_rows, seeded, slot_rows, weights_digest
from stremn.tables.paper import MOVING_MNIST, PREDICTION, TABLES, SeenFigures
from stremn.tables.segmentation import GROWING_EVERY

BASE = Trial(
    "digest",
    SegmentationSettings("learned", 6, 240, candidate_every=2, certainty=0.0, fusion="most-similar"),
)
OTHER = Trial("digest", PredictionSettings("learned", 5, 0))


@pytest.mark.parametrize("base", [BASE, OTHER])
def test_every_policy_has_a_row_and_random_ones_have_seeds(base: Trial) -> None:
    rows = policy_rows(base, 4)
    assert {row.trials[0].settings.policy for row in rows} == set(POLICIES)
    for row in rows:
        draws = POLICIES[row.trials[0].settings.policy].draws
        assert [trial.settings.seed for trial in row.trials] == list(range(4 if draws else 1))
        assert {trial.settings.slots for trial in row.trials} == {base.settings.slots}
    assert [row.name[:3] for row in rows[:6]] == ["(A)", "(B)", "(C)", "(D)", "(E)", "(F)"]
    assert [row.name for row in rows][-2:] == ["(ours) learned", "growing memory"]


def test_slots() -> None:
    assert [row.trials[0].settings.slots for row in slot_rows(OTHER, 3, range(1, 4))] == [1, 2, 3]
    assert len(slot_rows(OTHER.changed(policy="random-drop"), 3, [4])[0].trials) == 3


@pytest.mark.parametrize("number", TABLES)
def test_each_row_of_the_paper_stands_beside_one_of_ours(number: int) -> None:
    rows = table_rows(number, BASE)
    printed = TABLES[number]
    ours = sorted(str(row.paper) for row in rows if row.paper)
    assert ours == sorted(str(figures.fractions()) for figures in printed.rows.values())
    assert set(printed.test_dev) <= {row.name for row in rows}
    for figures in [*printed.rows.values(), *printed.test_dev.values()]:
        # The paper rounds each figure on its own.
        if isinstance(figures, SeenFigures):
            four = (figures.j_seen, figures.f_seen, figures.j_unseen, figures.f_unseen)
            assert figures.g == pytest.approx(np.mean(four), abs=0.051)
        elif figures.j is not None and figures.f is not None:
            assert figures.j_and_f == pytest.approx((figures.j + figures.f) / 2, abs=0.051)


def test_ways_of_testing_and_growing_memory() -> None:
    ways = {row.name: row.trials[0].settings for row in table_rows(3, BASE)}
    views = [ONE_VIEW, ONE_VIEW, MULTI_SCALE, MULTI_SCALE, ONE_VIEW, ONE_VIEW]
    assert [t.views for t in ways.values()] == views
    assert [t.postprocess for t in ways.values()] == [False, True, False, True, False, False]
    assert ways["first and latest frame"].policy == "first-and-last"
    for growing in (ways["growing memory"], table_rows(1, BASE)[-1].trials[0].settings):
        assert (growing.policy, growing.candidate_every) == ("every-nth", GROWING_EVERY)
    with pytest.raises(StremnError, match="no table 5"):
        table_rows(5, BASE)


def test_youtube_vos_at_one_scale_and_at_several() -> None:
    rows = {row.name: row.trials[0].settings for row in table_rows(4, BASE)}
    assert {name: settings.views for name, settings in rows.items()} == {
        "STReMN": ONE_VIEW,
        "STReMN-MS": MULTI_SCALE,
    }


def test_fusion_is_removed_and_its_targets_changed() -> None:
    """The weights' own target first; the paper's figure stands beside the target that it used."""
    rows = {row.name: row for row in table_rows(6, BASE)}
    assert [row.trials[0].settings.fusion for row in rows.values()] == [
        "most-similar",
        "none",
        "least-similar",
        "all-others",
    ]
    beside = [name for name, row in rows.items() if row.paper]
    assert beside == ["without fusion", "with fusion, least-similar"]
    with pytest.raises(StremnError, match="table 6 needs weights with a fusion module"):
        table_rows(6, BASE.changed(fusion="none"))


def test_figures_of_table_5_in_our_units() -> None:
    ours = PREDICTION["STReMN"]
    assert ours.of("human36m") == {"mse": 378.9, "mae": 1404.0, "ssim": 0.906}
    assert ours.of("kth") == {"psnr_predrnn": 27.44, "ssim_predrnn": 0.834, "lpips_predrnn": 0.134}
    assert PREDICTION["DFN"].of("human36m") == {"mse": None, "mae": None, "ssim": None}
    assert ours.of("videos") == {}


def test_what_the_text_says_of_the_papers_table_5() -> None:
    """Best of all on Human3.6M; on KTH only LPIPS is (Sec. 4.2)."""
    ours, others = PREDICTION["STReMN"], [row for name, row in PREDICTION.items() if name != "STReMN"]
    for name, sign in (("mse", 1), ("mae", 1), ("ssim", -1), ("kth_lpips", 1)):
        known = [getattr(row, name) for row in others if getattr(row, name) is not None]
        assert sign * getattr(ours, name) < min(sign * value for value in known)
    assert max(row.kth_psnr or 0 for row in others) == PREDICTION["Conv-TT-LSTM"].kth_psnr
    assert list(MOVING_MNIST.values()) == sorted(MOVING_MNIST.values(), reverse=True)


def test_a_base_leaves_nothing_open(model: Segmenter) -> None:
    base = base_trial(model, SegmentationSettings(slots=5, device="cpu"))
    assert base.weights == weights_digest(model)
    assert (base.settings.slots, base.settings.policy) == (5, model.config.policy)
    assert None not in base.settings.to_dict().values()
    assert base.settings.precision in ("fp32", "bf16")
    with pytest.raises(StremnError, match="unknown precision"):
        base_trial(model, SegmentationSettings(precision="int4"))


@dataclass(frozen=True)
class Numbers:
    """An item of so many frames."""

    name: str
    frames: int
    facts: dict[str, Any] = field(default_factory=dict)


class Squares:
    """Scores a trial by its seed and the item's frames, and takes note of what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(
        self, item: Numbers, trials: Sequence[Trial[PredictionSettings]]
    ) -> Iterator[tuple[Trial[PredictionSettings], Result[PredictionScores]]]:
        for trial in trials:
            seed = trial.settings.seed
            self.asked.append((item.name, seed))
            scores = PredictionScores(item.frames, {"mse": (float(seed**2), float(item.frames))})
            yield trial, Result(item.name, trial.settings.to_dict(), item.frames, scores, (0, seed), {})


ITEMS = [Numbers("a", 3, {"name": "a"}), Numbers("b", 1, {"name": "b"})]


def test_what_is_there_is_not_run_again(tmp_path: Any) -> None:
    path, one, two = tmp_path / "results.jsonl", OTHER.changed(seed=1), OTHER.changed(seed=2)
    first, store = Squares(), ResultStore(path, PredictionScores)
    assert frames_to_run([one, one], ITEMS, store) == 4
    before = run([one, one], ITEMS, store, first)
    assert first.asked == [("a", 1), ("b", 1)]
    second, store = Squares(), ResultStore(path, PredictionScores)
    assert frames_to_run([two, one], ITEMS[:1], store) == 3
    after = run([two, one], ITEMS[:1], store, second)
    assert second.asked == [("a", 2)]
    assert list(after) == [two, one]
    assert after[one] == before[one][:1]
    assert [result.item for result in before[one]] == ["a", "b"]


def test_results_are_kept_as_they_come(tmp_path: Any) -> None:
    class Stopped(Squares):
        def __call__(self, *given: Any) -> Iterator[Any]:
            for number, found in enumerate(super().__call__(*given)):
                if number:
                    raise KeyboardInterrupt
                yield found

    path, trials = tmp_path / "results.jsonl", [OTHER.changed(seed=seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run(trials, ITEMS, ResultStore(path, PredictionScores), Stopped())
    rest = Squares()
    found = run(trials, ITEMS, ResultStore(path, PredictionScores), rest)
    assert rest.asked == [("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)]
    assert found == run(trials, ITEMS, ResultStore(None, PredictionScores), Squares())


def test_results_are_found_for_what_they_were_made_with_only() -> None:
    trials = [OTHER, OTHER.changed(slots=3), OTHER.changed(device="cpu"), OTHER.changed(precision="bf16")]
    trials += [Trial("other", OTHER.settings), *(t for row in table_rows(3, BASE) for t in row.trials)]
    assert len({trial.key(ITEMS[0]) for trial in trials}) == len(trials)
    assert OTHER.key(ITEMS[0]) != OTHER.key(ITEMS[1])
    assert OTHER.key(ITEMS[0]) == Trial("digest", PredictionSettings("learned", 5, 0)).key(ITEMS[0])


def test_a_line_is_the_mean_over_items_and_seeds_with_their_spread() -> None:
    trials = seeded(OTHER.changed(policy="random-drop"), 3)
    results = run(trials, ITEMS, ResultStore(None, PredictionScores), Squares())
    (line,) = summarise([Row("random", trials, file="weights")], results)
    # Three clips of item a and one of item b; the second frame ahead scores the number of clips.
    assert [score.curves["mse"] for score in line.scores] == [(seed**2, 2.5) for seed in range(3)]
    assert line.mean("mse") == pytest.approx(np.mean([(seed**2 + 2.5) / 2 for seed in range(3)]))
    assert line.spread("mse") == (1.25, 3.25)
    assert line.ages.tolist() == [0, 1]
    data = json.loads(json.dumps(line.to_dict()))
    assert data["min_max"] == {"mse": [1.25, 3.25]}
    assert [run["settings"]["seed"] for run in data["runs"]] == [0, 1, 2]
    assert data["runs"][0]["items"] == {"a": {"frames": 3}, "b": {"frames": 1}}
    assert (data["file"], data["paper"], data["weights_sha256"]) == ("weights", None, "digest")


def test_the_digest_sees_weights_and_config(model: Segmenter) -> None:
    assert weights_digest(model) == weights_digest(model)
    other = create_model("stremn-lite", slots=5)
    other.load_state_dict(model.state_dict())
    assert weights_digest(other) != weights_digest(model)
    other = create_model("stremn-lite")
    other.load_state_dict(model.state_dict())
    assert weights_digest(other) == weights_digest(model)
    next(other.parameters()).data.view(-1)[0] += 1e-3
    assert weights_digest(other) != weights_digest(model)


@pytest.mark.parametrize("name", [name for name in PREDICTORS if name.endswith("small")])
def test_a_model_without_slots(name: str) -> None:
    base = base_trial(create_model(name), PredictionSettings(size=0))
    assert (base.settings.policy, base.settings.slots) == (None, None)
    assert seeded(base, 3) == (base,)
