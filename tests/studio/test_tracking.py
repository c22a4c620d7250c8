"""Objects are followed both ways, a pause changes nothing, and what is drawn on the way is a correction."""

from collections.abc import Callable
from typing import Any

import pytest

from small_data import labels
from stremn.errors import StremnError
from stremn.sessions import SegmentationSession
from stremn.studio import Project, Tracker
from stremn.studio.project import GIVEN, NONE

Open = Callable[[], SegmentationSession]


def overlap(project: Project, frame: int, object_id: int = 1) -> float:
    found, true = project.labels(frame) == object_id, labels(frame) == object_id
    return float((found & true).sum() / (found | true).sum())


@pytest.fixture
def news() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def tracker(project: Project, open_session: Open, news: list[dict[str, Any]]) -> Tracker:
    return Tracker(project, open_session, news.append)


def run(tracker: Tracker, frame: int, direction: int = 1) -> None:
    tracker.start(frame, direction)
    tracker.wait(60)
    assert not tracker.running


def test_from_the_middle_both_ways(project: Project, tracker: Tracker, news: list[dict[str, Any]]) -> None:
    for object_id in (1, 2):
        project.draw(5, project.add_object(), labels(5) == object_id)
    run(tracker, 5)
    assert [n.get("frame") for n in news] == [6, 7, 8, 9, 10, 11, None]
    run(tracker, 5, -1)
    assert [n.get("frame") for n in news[7:]] == [4, 3, 2, 1, 0, None]
    assert news[-1] == {"ended": True, "error": None}
    for object_id in (1, 2):
        assert min(overlap(project, f, object_id) for f in range(12)) > 0.6
        assert project.code(object_id, 5) == GIVEN
        assert NONE not in project.row(object_id)


def test_a_pause_changes_nothing(project: Project, open_session: Open) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    run(Tracker(project, open_session, lambda news: None), 0)
    whole = [project.labels(f) for f in range(12)]
    project.undo()
    paused: list[int] = []

    def pause(news: dict[str, Any]) -> None:
        if news.get("frame") in (3, 7):
            tracker._stop.set()
            paused.append(news["frame"])

    tracker = Tracker(project, open_session, pause)
    for start in (0, 3, 7):
        run(tracker, start)
    assert paused == [3, 7]
    assert all((project.labels(f) == mask).all() for f, mask in enumerate(whole))
    assert tracker.session is not None
    assert tracker.session.frame_index == 11


def test_the_memory_is_told_in_frames_of_the_video(project: Project, tracker: Tracker) -> None:
    project.draw(8, project.add_object(), labels(8) == 1)
    run(tracker, 8, -1)
    slots, names = tracker.slots(2)[1], tracker.slot_names()
    assert len(slots) == len(names) == 6
    held = dict(zip(names, slots))
    assert (held["first"], held["latest"]) == (8, 2)
    assert all(f == -1 or 2 <= f <= 8 for f in slots)
    assert tracker.slots(8)[1][0] == 8
    assert tracker.slots(9) == {}


def test_a_mask_drawn_ahead_corrects_when_its_frame_comes(project: Project, tracker: Tracker) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    project.draw(6, 1, labels(6) == 2)
    run(tracker, 0)
    assert (project.labels(6) == (labels(6) == 2)).all()
    found, true = project.labels(8) == 1, labels(8) == 2
    assert (found & true).sum() > 0.7 * true.sum()


def test_another_object_joins_where_it_is_drawn(project: Project, tracker: Tracker) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    project.draw(5, project.add_object(), labels(5) == 2)
    run(tracker, 0)
    assert not (project.labels(4) == 2).any()
    assert overlap(project, 9, 1) > 0.7
    assert overlap(project, 9, 2) > 0.7


def test_a_new_run_recalls_what_was_given_before(project: Project, tracker: Tracker) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    run(tracker, 0)
    project.draw(4, 1, labels(4) == 1)
    run(tracker, 4)
    slots = dict(zip(tracker.slot_names(), tracker.slots(4)[1]))
    assert (slots["first"], slots["latest"]) == (0, 4)


def test_nothing_to_follow(project: Project, tracker: Tracker, news: list[dict[str, Any]]) -> None:
    with pytest.raises(StremnError, match="nothing is drawn at frame 3: draw an object first"):
        tracker.start(3, 1)
    with pytest.raises(StremnError, match="there is no frame 40"):
        tracker.start(40, 1)


def test_whoever_is_told_of_the_end_sees_it(project: Project, open_session: Open) -> None:
    seen: list[int] = []
    tracker = Tracker(project, open_session, lambda news: seen.append(tracker.running))
    project.draw(9, project.add_object(), labels(9) == 1)
    run(tracker, 9)
    assert seen == [1, 1, 0]
    run(tracker, 9, -1)
    assert seen[3:] == [-1] * 9 + [0]


def test_an_error_ends_the_run_and_is_told(
    project: Project, tracker: Tracker, news: list[dict[str, Any]]
) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    project.frame_file(3).unlink()
    run(tracker, 0)
    assert "is gone" in news[-1]["error"]
    assert [n["frame"] for n in news[:-1]] == [1, 2]
    project.undo()
    assert not project.labels(2).any()
