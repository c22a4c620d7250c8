"""What is drawn stays, what was done is undone, and a project is there again when it is opened."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from small_data import labels, write_frames
from stremn.errors import StremnError
from stremn.files import read_mask
from stremn.studio import Project
from stremn.studio.project import GIVEN, LOST, NONE, sure


def state(project: Project) -> tuple[object, ...]:
    """All that undo must bring back."""
    masks = {f.name: f.read_bytes() for f in sorted((project.folder / "masks").iterdir())}
    rows = {i: project.row(i).tolist() for i in project.objects}
    return masks, dict(project.objects), rows


def test_a_video_is_read_frame_by_frame(project: Project) -> None:
    assert (project.count, project.size, project.complete) == (12, (64, 96), True)
    assert project.names[3] == "00003"
    assert np.abs(project.image(3)[labels(3) == 1].mean(0) - (240, 230, 60)).max() < 20
    with pytest.raises(StremnError, match="there is no frame 12: frames go from 0 to 11"):
        project.image(12)


def test_masks_are_named_like_the_frames_of_a_folder(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.read(write_frames(tmp_path / "frames", ["a1.jpg", "a2.jpg", "a10.jpg"]))
    project.draw(2, project.add_object(), labels(2) == 1)
    assert [f.name for f in (project.folder / "masks").iterdir()] == ["a10.png"]
    assert (read_mask(project.folder / "masks" / "a10.png").labels == (labels(2) == 1)).all()


def test_what_is_drawn_stays_when_it_is_followed_through(project: Project) -> None:
    first, second = project.add_object("rabbit"), project.add_object()
    assert project.objects == {1: "rabbit", 2: "object 2"}
    project.draw(4, first, labels(4) == 1)
    project.draw(4, second, np.zeros((64, 96), bool))
    with project.action("track"):
        # Somewhere else, and over the whole picture.
        found = np.full((64, 96), second, np.uint8)
        changed = project.take(4, found, {first: sure(0.5), second: LOST})
        assert changed == {}
        assert project.take(5, found, {second: sure(0.5)}) == {second: 51}
    assert (project.labels(4) == (labels(4) == 1) * first).all()
    assert not project.given(4)[second].any()
    assert project.row(first).tolist() == [GIVEN if f == 4 else NONE for f in range(12)]


def test_objects_that_are_not_followed_keep_their_masks(project: Project) -> None:
    first, second = project.add_object(), project.add_object()
    with project.action("track"):
        project.take(3, labels(3) * (labels(3) == 1), {first: sure(1)})
        project.take(3, labels(3) * (labels(3) == 2), {second: sure(1)})
    assert (project.labels(3) == labels(3)).all()


def test_every_action_is_undone(project: Project) -> None:
    project.add_object("kept")
    project.draw(0, 1, labels(0) == 1)
    before = []
    for act in (
        lambda: project.add_object("other"),
        lambda: project.draw(0, 1, labels(0) == 2),
        lambda: project.draw(7, 2, labels(7) == 2),
        lambda: project.clear(0, 1),
        lambda: project.rename_object(2, "renamed"),
        lambda: project.remove_object(2),
    ):
        before.append(state(project))
        act()
    with project.action("track"):
        before.append(state(project))
        for frame in range(12):
            project.take(frame, labels(frame) & 1, {1: sure(0.3)})
    while before:
        assert state(project) != before[-1]
        project.undo()
        assert state(project) == before.pop()
    assert state(Project(project.folder)) == state(project)
    project.undo()
    project.undo()
    with pytest.raises(StremnError, match="nothing to undo"):
        project.undo()


def test_only_so_much_is_kept_for_undo(project: Project) -> None:
    project.add_object()
    for _ in range(60):
        project.draw(0, 1, labels(0) == 1)
    assert len(list((project.folder / "undo").iterdir())) <= 50


def test_an_action_that_changed_nothing_leaves_nothing_to_undo(project: Project) -> None:
    with pytest.raises(StremnError, match="there is no object 9"):
        project.draw(0, 9, labels(0) == 1)
    assert project.undo_label is None


def test_a_project_is_opened_again(project: Project) -> None:
    project.draw(2, project.add_object("rabbit"), labels(2) == 1)
    again = Project(project.folder)
    assert state(again) == state(project)
    assert (again.count, again.size, again.rate) == (project.count, project.size, project.rate)
    (project.folder / "project.json").write_text("{}")
    with pytest.raises(StremnError, match="is damaged"):
        Project(project.folder)


def test_a_frame_that_is_gone_is_told(project: Project) -> None:
    shutil.rmtree(project.folder / "frames")
    with pytest.raises(StremnError, match="is gone: open the video again"):
        project.image(0)


def test_more_objects_than_there_are_colours_for(project: Project) -> None:
    for _ in range(100):
        project.add_object()
    with pytest.raises(StremnError, match="100 objects already"):
        project.add_object()


def test_a_long_video_is_refused(video: Path, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"squares.mp4 has more than 5 frames"):
        Project(tmp_path / "project").read(video, most_frames=5)


@pytest.mark.parametrize("failing", ["write_mask", "write_json"])
def test_an_action_that_fails_changes_nothing(
    failing: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for object_id in (project.add_object("kept"), project.add_object("other")):
        for frame in (0, 5):
            project.draw(frame, object_id, labels(frame) == object_id)
    before, label = state(project), project.undo_label

    def full(*args: object) -> None:
        raise StremnError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(f"stremn.studio.project.{failing}", full)
        for act in (
            lambda: project.draw(5, 1, labels(5) == 2),
            lambda: project.draw(6, 1, labels(6) == 1),
            lambda: project.clear(0, 2),
            lambda: project.remove_object(1),
            project.add_object if failing == "write_json" else lambda: project.remove_object(2),
        ):
            with pytest.raises(StremnError, match="disk full"):
                act()
            assert (state(project), project.undo_label) == (before, label)
    assert state(Project(project.folder)) == before


def test_what_was_found_is_there_when_the_process_is_killed(project: Project) -> None:
    project.draw(0, project.add_object(), labels(0) == 1)
    project.draw(0, project.add_object(), labels(0) == 2)
    with project.action("track", tracking=True):
        for frame in (1, 2, 3):
            project.take(frame, labels(frame), {1: sure(1), 2: sure(1)})
        shutil.copytree(project.folder, project.folder.with_name("killed"))
    killed = Project(project.folder.with_name("killed"))
    for object_id in (1, 2):
        assert [killed.code(object_id, f) for f in range(5)] == [GIVEN, *[sure(0)] * 3, NONE]
    killed.remove_object(2)
    assert all(not (killed.labels(f) == 2).any() for f in range(12))
    assert (killed.labels(2) == (labels(2) == 1)).all()


def test_a_mask_whose_copy_is_gone_stays(project: Project) -> None:
    project.add_object()
    for _ in range(2):
        project.draw(0, 1, labels(0) == 1)
    shutil.rmtree(project.folder / "undo")
    project.undo()
    assert (project.labels(0) == (labels(0) == 1)).all()


def test_what_is_drawn_while_a_video_is_read_stays(video: Path, tmp_path: Path) -> None:
    """Also if reading ends in the middle, by an error or a killed process; it is then read once more."""
    project = Project(tmp_path / "project")

    def draw_and_end() -> None:
        if project.count == 4:
            project.draw(2, project.add_object("rabbit"), labels(2) == 1)
        if project.count == 6:
            raise StremnError("another video was opened")

    with pytest.raises(StremnError, match="another video"):
        project.read(video, tell=draw_and_end)
    again = Project(project.folder)
    assert not again.complete
    again.read(video)
    assert (again.complete, again.count, again.objects) == (True, 12, {1: "rabbit"})
    assert again.given_frames() == [2]
    assert (again.labels(2) == (labels(2) == 1)).all()
