"""Which frames and which objects of a sequence count."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stremn import StremnError
from stremn.metrics import ObjectScore, SequenceScorer, contour_accuracy, region_similarity, score_sequence

# No deadline: the machine may be busy.
LAW = settings(max_examples=50, deadline=None)
MAPS = hnp.arrays(np.uint8, st.tuples(st.integers(3, 7), st.just(9), st.just(12)), elements=st.integers(0, 3))
NAMES = st.permutations([9, 2, 200])


def frames(*ids: int | tuple[int, ...]) -> list[np.ndarray]:
    """Maps in which each object of a frame fills a bar of its own, by id."""
    maps = []
    for frame in ids:
        mask = np.zeros((40, 260), np.uint8)
        for i in frame if isinstance(frame, tuple) else (frame,):
            mask[10:30, i : i + 2] = i
        maps.append(mask)
    return maps


def means(scores: list[ObjectScore]) -> dict[int, tuple[float, float]]:
    return {s.object_id: (s.j_mean, s.f_mean) for s in scores}


@LAW
@given(MAPS)
def test_truth_scores_one_against_itself(truth: np.ndarray) -> None:
    truth[0, 0, 0] = 1
    for score in score_sequence("s", truth, truth):
        assert score.values() == {
            "j_and_f": 1,
            "j_mean": 1,
            "j_recall": 1,
            "j_decay": 0,
            "f_mean": 1,
            "f_recall": 1,
            "f_decay": 0,
        }


@LAW
@given(MAPS, st.randoms(use_true_random=False))
def test_means_are_over_all_frames_but_first_and_last(truth: np.ndarray, random) -> None:
    truth[0, 0, :3] = (1, 2, 3)
    predictions = list(truth)
    random.shuffle(predictions)
    pairs = list(zip(predictions, truth))[1:-1]
    for i, (j, f) in means(score_sequence("s", predictions, truth)).items():
        assert j == pytest.approx(np.mean([region_similarity(p == i, t == i) for p, t in pairs]))
        assert f == pytest.approx(np.mean([contour_accuracy(p == i, t == i) for p, t in pairs]))


@LAW
@given(MAPS, NAMES)
def test_ids_keep_their_scores_under_any_name(truth: np.ndarray, names: list[int]) -> None:
    truth[0, 0, :3] = (1, 2, 3)
    predictions = np.roll(truth, 1, axis=2)
    table = np.array([0, *names], np.uint8)
    before = means(score_sequence("s", predictions, truth))
    after = means(score_sequence("s", table[predictions], table[truth]))
    assert after == {int(table[i]): score for i, score in before.items()}
    assert list(after) == sorted(after)


@LAW
@given(MAPS)
def test_one_by_one_is_all_at_once(truth: np.ndarray) -> None:
    truth[0, 0, 0] = 1
    predictions = np.roll(truth, 2, axis=1)
    scorer = SequenceScorer("s")
    for index, (prediction, true) in enumerate(zip(predictions, truth)):
        scorer.update(None if index in (0, len(truth) - 1) else prediction, true)
    assert scorer.result() == score_sequence("s", iter(predictions), iter(truth))


def test_first_and_last_prediction_do_not_count() -> None:
    truth = frames(1, 1, 1, 1)
    assert means(score_sequence("s", [truth[0] * 0, truth[1], truth[2], truth[3] * 0], truth)) == {1: (1, 1)}


def test_object_that_appears_late() -> None:
    """It counts from the start: right while it is absent from both, wrong where it is predicted too soon."""
    truth = frames(1, 1, 1, (1, 2), (1, 2), (1, 2))
    assert means(score_sequence("s", truth, truth))[2] == (1, 1)
    early = frames(1, (1, 2), 1, (1, 2), (1, 2), (1, 2))
    assert means(score_sequence("s", early, truth))[2] == (0.75, 0.75)
    never = frames(1, 1, 1, 1, 1, 1)
    assert means(score_sequence("s", never, truth))[2] == (0.5, 0.5)


def test_object_of_the_last_frame_alone_is_not_scored() -> None:
    assert means(score_sequence("s", frames(1, 1, 1), frames(1, 1, (1, 2)))) == {1: (1, 1)}


def test_object_of_the_first_frame_alone_is_scored() -> None:
    assert means(score_sequence("s", frames(1, (1, 2), 1, 1), frames((1, 2), 1, 1, 1)))[2] == (0.5, 0.5)


def test_gaps_between_ids_are_no_objects() -> None:
    truth = frames((4, 200), (4, 200), (4, 200))
    assert means(score_sequence("s", truth, truth)) == {4: (1, 1), 200: (1, 1)}


def test_void_beside_objects_is_background() -> None:
    truth = frames(*[(1, 2, 255)] * 3)
    predictions = frames(*[(1, 2)] * 3)
    assert means(score_sequence("s", predictions, truth)) == {1: (1, 1), 2: (1, 1)}
    over_void = [np.where(t == 255, 2, p).astype(np.uint8) for p, t in zip(predictions, truth)]
    assert means(score_sequence("s", over_void, truth))[2][0] == 0.5


@pytest.mark.parametrize("true_id", [1, 255])
@pytest.mark.parametrize("predicted_id", [1, 255])
def test_black_and_white_masks_are_one_object(
    true_id: int, predicted_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    shape = frames(5, 5, 5)
    truth = [(m > 0).astype(np.uint8) * true_id for m in shape]
    predictions = [(m > 0).astype(np.uint8) * predicted_id for m in shape]
    predictions[1][10:20] = 0
    assert means(score_sequence("s", predictions, truth))[true_id][0] == 0.5
    assert not caplog.records


def test_predicted_ids_that_the_truth_lacks_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stremn"):
        scores = score_sequence("walk", frames(1, (1, 9), (1, 3), 1), frames(1, 1, 1, 1))
    assert means(scores) == {1: (1, 1)}
    assert caplog.messages == ["walk: predicted ids that the truth lacks are not scored: 3, 9"]


@pytest.mark.parametrize(
    ("predictions", "truth", "message"),
    [
        (frames(1, 1), frames(1, 1), "walk has 2 frames: .* give three or more"),
        ([], [], "walk has 0 frames"),
        (frames(1, 1), frames(1, 1, 1), "walk: the predictions end early"),
        (frames(1, 1, 1), frames(1, 1), "walk: the truth end early"),
        (frames(1, 1, 1), frames(0, 0, 0), "truth of walk holds no object"),
        (frames(1, 1, 1), [*frames(1), *[m[:20] for m in frames(1, 1)]], "walk, frame 1: .*260x40.*260x20"),
        ([*frames(1), None, *frames(1)], frames(1, 1, 1), "walk: the predictions end early"),
    ],
)
def test_sequences_that_cannot_be_scored(predictions: list, truth: list, message: str) -> None:
    with pytest.raises(StremnError, match=message):
        score_sequence("walk", predictions, truth)


def test_missing_prediction_in_between() -> None:
    scorer = SequenceScorer("walk")
    for prediction, true in zip([None, *frames(1), None, *frames(1)], frames(1, 1, 1, 1)):
        scorer.update(prediction, true)
    with pytest.raises(StremnError, match="walk, frame 2: there is no prediction"):
        scorer.result()


def test_no_mask_is_kept() -> None:
    import gc
    import weakref

    scorer = SequenceScorer("s")
    masks = [m.view() for m in frames(1, 1, 1)]
    watched = [weakref.ref(m) for m in masks]
    for mask in masks:
        scorer.update(mask, mask)
    del mask, masks
    gc.collect()
    assert all(ref() is None for ref in watched)
    assert means(scorer.result()) == {1: (1, 1)}


def test_youtube_vos_scores_from_the_frame_after_the_given_one_to_the_last() -> None:
    truth = frames(1, 1, (1, 9), (1, 9), 9)
    predictions = frames(1, (), (1,), (1, 9), ())
    scorer = SequenceScorer("late", from_given=True)
    for prediction, true in zip(predictions, truth):
        scorer.update(prediction, true)
    # Object 1: missed, found, found, rightly absent; object 9 joins in frame 2: found, missed.
    assert means(scorer.result()) == {1: (0.75, 0.75), 9: (0.5, 0.5)}
    # DAVIS would also count that object 9 was rightly absent, missed where it is given, and not the last.
    assert means(score_sequence("late", predictions, truth)) == {
        1: (pytest.approx(2 / 3),) * 2,
        9: (pytest.approx(2 / 3),) * 2,
    }


def test_youtube_vos_leaves_out_what_no_later_frame_could_show() -> None:
    scorer = SequenceScorer("late", from_given=True)
    for true in frames(1, (1, 9)):
        scorer.update(true, true)
    assert means(scorer.result()) == {1: (1, 1)}
    scorer = SequenceScorer("one", from_given=True)
    scorer.update(*frames(1, 1))
    with pytest.raises(StremnError, match=r"^one has 1 frames: the first is not scored, give two or more$"):
        scorer.result()
