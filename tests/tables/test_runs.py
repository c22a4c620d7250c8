"""Sessions that share frames score as each does alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stremn.data import new_objects, play, read_videos
from stremn.errors import StremnError
from stremn.metrics import ScoreTable, SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import View
from stremn.sessions.segmentation import SegmentationSession
from stremn.tables import Result, ResultStore, Row, Trial, run_trials, summarise
from stremn.tables.paper import Figures
from stremn.tables.segmentation import Setting, frames_to_play

BASE = Trial("learned", 3, 1, 64)
TRIALS = [
    BASE,
    replace(BASE, policy="oldest", postprocess=True),
    replace(BASE, policy="random-drop", seed=1),
    replace(BASE, policy="every-nth", candidate_every=2),
    replace(BASE, views=(View(), View(flip=True))),
]


@pytest.fixture
def setting(model: Segmenter, davis: Path) -> Setting:
    return Setting(model, davis, least=7, device="cpu", precision="fp32")


def test_together_is_as_alone(setting: Setting, davis: Path, tmp_path: Path) -> None:
    sequences = read_videos(davis)
    store = ResultStore(tmp_path / "results.jsonl", Result)
    counted: list[int] = []
    assert frames_to_play(setting, TRIALS, sequences, store) == len(TRIALS) * (7 + 9)
    results = run_trials(setting, TRIALS, sequences, store, lambda: counted.append(1))
    assert len(counted) == len(TRIALS) * (7 + 9)
    for trial in TRIALS:
        session = trial.open(setting.model, "cpu", "fp32")
        for sequence, result in zip(sequences, results[trial], strict=True):
            session.reset()
            scorer, ages = SequenceScorer(sequence.name), np.zeros(20, int)
            for t, moment in enumerate(play(sequence, 7)):
                labels = session.step(moment.image, new_objects(moment.truth, session.object_ids)).labels
                assert moment.truth is not None
                scorer.update(labels, moment.truth)
                for held in session.frames_in_memory().values():
                    for f in held[1:]:
                        ages[t - f] += 0 <= f < t
            assert result.scores == tuple(scorer.result())
            assert result.sequence == sequence.name
            assert result.frames == t + 1
            assert result.ages == tuple(np.trim_zeros(ages, "b").tolist())
            assert result.held == {str(i): s for i, s in session.frames_in_memory().items()}


def test_what_is_there_is_not_run_again(
    setting: Setting, davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences, path = read_videos(davis), tmp_path / "results.jsonl"
    first = run_trials(setting, TRIALS[:2], sequences[:1], ResultStore(path, Result))
    steps: list[str] = []
    step = SegmentationSession.step

    def counting(session: SegmentationSession, *given: object, **named: object) -> object:
        steps.append(session.policy.name)
        return step(session, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(SegmentationSession, "step", counting)
    again = run_trials(setting, TRIALS[:2], sequences[:1], ResultStore(path, Result))
    assert again == first
    assert steps == []
    # Another sequence, another trial and another length are new.
    more = run_trials(setting, TRIALS[:3], sequences[:1], ResultStore(path, Result))
    assert more[TRIALS[0]] == first[TRIALS[0]]
    assert steps == ["random-drop"] * 7
    steps.clear()
    run_trials(replace(setting, least=0), TRIALS[:1], sequences[:1], ResultStore(path, Result))
    assert steps == ["learned"] * 4


def test_a_sequence_without_objects(setting: Setting, davis: Path, tmp_path: Path) -> None:
    sequence = replace(read_videos(davis)[0], masks=())
    with pytest.raises(StremnError, match="no annotation has an object"):
        run_trials(setting, TRIALS[:2], [sequence], ResultStore(tmp_path / "results.jsonl", Result))


def test_a_line_is_the_mean_over_seeds_with_their_spread(
    setting: Setting, davis: Path, tmp_path: Path
) -> None:
    seeds = tuple(replace(TRIALS[2], seed=seed) for seed in range(3))
    results = run_trials(setting, seeds, read_videos(davis), ResultStore(tmp_path / "results.jsonl", Result))
    paper = Figures(50.0, 60.0, 55.0)
    (line,) = summarise([Row("random", seeds, paper)], results)
    tables = [ScoreTable(tuple(s for r in results[t] for s in r.scores)).overall for t in seeds]
    assert line.scores == tuple(tables)
    assert line.mean("j_mean") == pytest.approx(np.mean([t.j_mean for t in tables]))
    low, high = line.spread()
    assert low == min(t.j_and_f for t in tables)
    assert high == max(t.j_and_f for t in tables)
    assert line.ages.sum() == pytest.approx(1)
    counts = sum(np.pad(r.ages, (0, len(line.ages) - len(r.ages))) for t in seeds for r in results[t])
    assert np.allclose(line.ages * np.sum(counts), counts)
    data = line.to_dict()
    assert data["paper"] == {"j_mean": 0.5, "f_mean": 0.6, "j_and_f": 0.55}
    assert [run["settings"]["seed"] for run in data["runs"]] == [0, 1, 2]
