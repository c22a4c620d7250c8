"""What the page asks for over HTTP; and nobody else comes in, nothing stops it."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hostile import REFUSED, attack, broken_videos
from serving import Served, files_of, read_all, served

from small_data import decode, labels
from stremn.sessions import SegmentationSession
from stremn.studio import Studio
from stremn.studio.project import GIVEN


@pytest.fixture
def target(tmp_path: Path, video: Path, open_session: Callable[[], SegmentationSession]) -> Iterator[Served]:
    studio = Studio(tmp_path / "studio", open_session)
    with served(studio) as found:
        studio.open(video)
        read_all(studio)
        yield found


def box(target: Served, object_id: int = 1) -> None:
    rows, columns = np.nonzero(labels(0) == object_id)
    x, y = int(columns.min()) - 3, int(rows.min()) - 3
    around = [x, y, int(np.ptp(columns)) + 7, int(np.ptp(rows)) + 7]
    assert target.do("add_object", name=f"square {object_id}") == object_id
    values = {"frame": 0, "object_id": object_id, "tool": "prompt", "points": [], "radius": 1, "scribble": []}
    assert target.do("draw", **values, box=around) is None


def test_draw_track_correct_undo_export(target: Served) -> None:
    box(target)
    project = target.studio.opened()
    found, true = project.labels(0) == 1, labels(0) == 1
    assert (found & true).sum() / (found | true).sum() > 0.85
    assert target.do("track", frame=0, direction=1) is None
    assert target.studio.tracker is not None
    target.studio.tracker.wait(60)
    state = target.state()["project"]
    assert (state["undo"], state["running"], state["at"]) == ("track forward", 0, 11)
    line = [[20.0, 20.0], [40.0, 30.0]]
    values = {"frame": 6, "object_id": 1, "points": line, "radius": 4, "box": None, "scribble": []}
    before = project.labels(6)
    target.do("draw", tool="brush", **values)
    assert (project.labels(6) > before).any()
    assert project.code(1, 6) == GIVEN
    target.do("draw", tool="eraser", **values)
    assert not project.labels(6)[25, 30]
    target.do("draw", tool="polygon", **values | {"points": [[50, 40], [70, 40], [60, 60]]})
    assert project.labels(6)[45, 60] == 1
    for _ in range(3):
        target.do("undo")
    assert (project.labels(6) == before).all()
    assert target.do("export", name="masks") == "masks.zip"
    status, data = target.ask("GET", "/export/masks.zip")
    assert status == 200
    (project.folder / "fetched.zip").write_bytes(data)
    assert len(ZipFile(project.folder / "fetched.zip").namelist()) == 12
    assert target.do("export", name="overlay") == "overlay.mp4"
    assert len(decode(project.folder / "exports" / "overlay.mp4")[0]) == 12


def test_every_export_is_made(target: Served) -> None:
    box(target)
    for name, what in target.state()["exports"]:
        made = target.do("export", name=name)
        assert made.startswith(f"{name}."), made
        assert what
        assert target.ask("GET", f"/export/{made}")[0] == 200
    assert target.state()["project"]["exported"]


def test_an_upload_is_opened_and_can_be_opened_again(target: Served, video: Path) -> None:
    assert target.ask("POST", "/upload?name=my%20clip.mp4", video.read_bytes())[0] == 200
    read_all(target.studio)
    box(target)
    assert target.state()["project"]["name"] == "my clip.mp4"
    assert target.ask("POST", "/upload?name=other.mp4", video.read_bytes())[0] == 200
    read_all(target.studio)
    assert target.state()["project"]["objects"] == []
    assert target.ask("POST", "/upload?name=my%20clip.mp4", video.read_bytes())[0] == 200
    assert [o["name"] for o in target.state()["project"]["objects"]] == ["square 1"]
    assert not files_of(target.studio.root / ".upload")


def test_errors_are_one_line(target: Served) -> None:
    assert target.do("track", frame=0, direction=1) == "nothing is drawn at frame 0: draw an object first"
    assert target.do("track", frame=0, direction=5).startswith("objects are followed forward, 1, or back")
    assert target.do("undo") == "nothing to undo"
    assert target.do("draw", frame=0) == "draw needs frame, object_id, tool, points, radius, box, scribble"
    assert target.do("export", name="../x").startswith("there is no export '../x': choose from masks, ")
    assert target.ask("GET", "/frame/99")[0] == 400
    assert json.loads(target.ask("GET", "/nothing")[1]) == {"error": "not found"}


def test_the_token_comes_in_once_and_stays_as_a_cookie(target: Served) -> None:
    import http.client

    line = http.client.HTTPConnection("127.0.0.1", target.port)
    line.request("GET", f"/?token={target.token}")
    answer = line.getresponse()
    cookie = answer.headers["Set-Cookie"]
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    answer.read()
    line.request("GET", "/", headers={"Cookie": cookie.split(";")[0]})
    answer = line.getresponse()
    assert answer.status == 200
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    line.close()


def test_hostile_requests_get_nothing_and_stop_nothing(target: Served, video: Path) -> None:
    outside = {f for f in files_of(target.studio.root.parent) if not f.startswith("studio/")}
    box(target)
    before = target.state()
    found = attack(target, video.read_bytes(), 190)
    answered = {kind: {s for s in statuses if s} for kind, statuses in found.items()}
    assert all(status in REFUSED for statuses in answered.values() for status in statuses), str(found)
    assert {0} == set(found["hung_up"]) == set(found["hung_up_reading"])
    after = target.state()
    assert after["project"]["objects"] == before["project"]["objects"]
    assert {f for f in files_of(target.studio.root.parent) if not f.startswith("studio/")} == outside


def test_broken_videos_are_told_and_leave_nothing(target: Served, video: Path) -> None:
    random.seed(0)
    for data in broken_videos(video.read_bytes(), 10):
        assert target.ask("POST", "/upload?name=broken.mp4", data)[0] == 200
        read_all(target.studio)
        state = target.state()
        assert (state["error"] is None) == (state["project"] is not None)
    assert target.ask("POST", "/upload?name=good.mp4", video.read_bytes())[0] == 200
    read_all(target.studio)
    assert target.state()["project"]["count"] == 12
    assert not files_of(target.studio.root / ".upload")


def test_a_foreseen_frame(target: Served) -> None:
    assert target.do("predict", frame=5) is None
    assert target.state()["prediction"] == {"frame": 5, "count": 10}
    status, data = target.ask("GET", "/predicted/10")
    assert (status, data[:4]) == (200, b"\x89PNG")
    assert target.ask("GET", "/predicted/11")[0] == 400
