"""Sessions that share frames score as each does alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stremn.data import new_objects, play, read_videos
from stremn.errors import StremnError
from stremn.memory import MemoryHistory
from stremn.metrics import ScoreTable, SequenceScorer
from stremn.models import Segmenter
from stremn.sessions import SegmentationSession, View
from stremn.sessions.settings import SegmentationSettings
from stremn.tables import PlayedVideo, ResultStore, SegmentVideos, Trial, base_trial, frames_to_run, run


@pytest.fixture(scope="module")
def trials(model: Segmenter) -> list[Trial[SegmentationSettings]]:
    base = base_trial(
        model, SegmentationSettings(slots=4, size=64, candidate_every=1, device="cpu", precision="fp32")
    )
    return [
        base,
        base.changed(policy="oldest", postprocess=True),
        base.changed(policy="random-drop", seed=1),
        base.changed(policy="every-nth", candidate_every=2),
        base.changed(views=(View(), View(flip=True))),
    ]


def test_together_is_as_alone(
    model: Segmenter, davis: Path, tmp_path: Path, trials: list[Trial[SegmentationSettings]]
) -> None:
    items = [PlayedVideo(video, davis, 7) for video in read_videos(davis)]
    store, counted = ResultStore(tmp_path / "results.jsonl", ScoreTable), list[int]()
    assert frames_to_run(trials, items, store) == len(trials) * (7 + 9)
    results = run(trials, items, store, SegmentVideos({trials[0].weights: model}, counted.append))
    assert sum(counted) == len(trials) * (7 + 9)
    for trial in trials:
        session = SegmentationSession(model, trial.settings)
        for item, result in zip(items, results[trial], strict=True):
            session.reset()
            scorer, history = SequenceScorer(item.name), MemoryHistory()
            for t, played in enumerate(play(item.video, 7)):
                labels = session.step(played.image, new_objects(played.truth, session.object_ids)).labels
                assert played.truth is not None
                scorer.update(labels, played.truth)
                history.add(t, session.frames_in_memory())
            assert result.score.objects == tuple(scorer.result())
            assert (result.item, result.frames) == (item.name, t + 1)
            assert result.ages == tuple(np.trim_zeros(history.ages, "b").tolist())
            held = {str(i): slots for i, slots in session.frames_in_memory().items()}
            assert result.details == {"frames_in_memory_at_the_end": held}
    again = ResultStore(tmp_path / "results.jsonl", ScoreTable)
    assert frames_to_run(trials, items, again) == 0
    found = run(trials, items, again, SegmentVideos({trials[0].weights: model}, counted.append))
    for trial in trials:
        assert [(r.score, r.ages) for r in found[trial]] == [(r.score, r.ages) for r in results[trial]]


def test_lengths_and_roots_are_told_apart(davis: Path, trials: list[Trial[SegmentationSettings]]) -> None:
    video, other = read_videos(davis)
    items = [PlayedVideo(video, davis), PlayedVideo(video, davis, 7), PlayedVideo(video, davis / "480p")]
    assert len({trials[0].key(item) for item in [*items, PlayedVideo(other, davis)]}) == 4
    # Played as often, the same.
    assert trials[0].key(PlayedVideo(video, davis, 6)) == trials[0].key(items[1])


def test_sequences_that_cannot_be_scored(
    model: Segmenter, davis: Path, trials: list[Trial[SegmentationSettings]]
) -> None:
    video, store = read_videos(davis)[0], ResultStore(None, ScoreTable)
    for masks, words in (((), "no mask to score against"), (video.masks[:1], "no mask to score against")):
        with pytest.raises(StremnError, match=words):
            run(
                trials[:1],
                [PlayedVideo(replace(video, masks=masks), davis)],
                store,
                SegmentVideos({trials[0].weights: model}),
            )
