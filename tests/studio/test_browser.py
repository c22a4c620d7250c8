"""The page in a real browser: a person draws, follows, corrects, reloads, exports."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright
from serving import Served, read_all, served

from small_data import labels, write_video
from stremn.sessions import SegmentationResult, SegmentationSession
from stremn.studio import Studio
from stremn.studio.project import GIVEN, NONE

expect.set_options(timeout=30_000)  # of a machine that is busy

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as play:
        try:
            yield play.chromium.launch(executable_path=found, args=[*CHROMIUM])
        except Error as error:
            message = f"no Chromium ({error.message.splitlines()[0]}): playwright install chromium"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)


@pytest.fixture
def target(tmp_path: Path, open_session: Callable[[], SegmentationSession]) -> Iterator[Served]:
    with served(Studio(tmp_path / "studio", open_session)) as found:
        yield found


@pytest.fixture
def page(browser: Browser, target: Served) -> Iterator[Page]:
    """A tab, in which no script may fail and nothing may be asked of another machine."""
    faults: list[str] = []
    with browser.new_context(viewport={"width": 1200, "height": 760}) as context:
        tab = context.new_page()
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on(
            "request", lambda r: None if "127.0.0.1" in r.url or "blob:" in r.url else faults.append(r.url)
        )
        tab.goto(target.address)
        yield tab
    assert not faults


@pytest.fixture
def opened(page: Page, target: Served, video: Path) -> Page:
    target.studio.open(video)
    read_all(target.studio)
    expect(page.locator("#name")).to_contain_text("12 frames")
    return page


def point(page: Page, x: float, y: float) -> tuple[float, float]:
    """Of the window, for a pixel of the video."""
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"] / 96, box["y"] + y * box["height"] / 64


def drag(page: Page, *points: tuple[float, float], button: Literal["left", "right"] = "left") -> None:
    # Nothing is drawn on a picture that is still on its way.
    expect(page.locator("#drawing")).to_have_attribute("aria-busy", "false")
    page.mouse.move(*point(page, *points[0]))
    page.mouse.down(button=button)
    for x, y in points[1:]:
        page.mouse.move(*point(page, x, y), steps=3)
    with page.expect_response("**/do/draw"):
        page.mouse.up(button=button)


def box_around(page: Page, frame: int, object_id: int) -> None:
    rows, columns = np.nonzero(labels(frame) == object_id)
    drag(page, (columns.min() - 3, rows.min() - 3), (columns.max() + 4, rows.max() + 4))


def overlap(target: Served, frame: int, object_id: int = 1) -> float:
    found, true = target.studio.opened().labels(frame) == object_id, labels(frame) == object_id
    return float((found & true).sum() / (found | true).sum())


def tracked(page: Page, target: Served, key: str = " ") -> None:
    with page.expect_response("**/do/track"):
        page.keyboard.press(key)
    assert target.studio.tracker is not None
    target.studio.tracker.wait(60)
    expect(page.locator("#track")).to_contain_text("Track")


def test_from_a_dropped_video_to_an_exported_correction(
    page: Page, target: Served, tmp_path: Path, video: Path
) -> None:
    expect(page.get_by_text("Drop a video here")).to_be_visible()
    page.locator("#file").set_input_files(video)
    expect(page.locator("#name")).to_have_text(re.compile(r"squares.mp4 · 96.64 · 12 frames"))
    box_around(page, 0, 1)
    assert overlap(target, 0) > 0.85
    tracked(page, target)
    assert min(overlap(target, f) for f in range(12)) > 0.6
    expect(page.locator("#place")).to_contain_text("frame 11 of 11")
    expect(page.locator("#slots img")).not_to_have_count(0)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#place")).to_contain_text("frame 7 of 11")
    page.keyboard.press("e")
    drag(page, (0, 0), (95, 0), (0, 20), (95, 20), (0, 40), (95, 40), (0, 60), (95, 60))
    page.keyboard.press("x")
    box_around(page, 7, 2)
    tracked(page, target)
    project = target.studio.opened()
    assert project.row(1).tolist().count(GIVEN) == 2
    found, true = project.labels(10) == 1, labels(10) == 2
    assert (found & true).sum() > 0.7 * true.sum()
    page.locator("#exports summary").click()
    with page.expect_download() as downloading:
        page.locator("#exports button").first.click()
    downloading.value.save_as(tmp_path / "masks.zip")
    assert len(ZipFile(tmp_path / "masks.zip").namelist()) == 12


def test_every_tool_and_undo(opened: Page, target: Served) -> None:
    project = target.studio.opened()
    pressed = [("b", [(8, 20), (40, 30)]), ("e", [(30, 0), (30, 60)])]
    masks = []
    for key, stroke in pressed:
        opened.keyboard.press(key)
        drag(opened, *stroke)
        masks.append(project.labels(0))
    assert masks[0][27, 30] == 1
    assert masks[1][27, 30] == 0
    assert masks[1][20, 9] == 1
    opened.keyboard.press("p")
    for corner in ((50, 40), (80, 40), (65, 60)):
        opened.mouse.click(*point(opened, *corner))
    with opened.expect_response("**/do/draw"):
        opened.keyboard.press("Enter")
    assert project.labels(0)[45, 65] == 1
    opened.keyboard.press("n")
    opened.keyboard.press("c")
    x, y = (int(v.mean()) for v in np.nonzero(labels(0) == 2)[::-1])
    with opened.expect_response("**/do/draw"):
        opened.mouse.click(*point(opened, x, y))
    assert project.labels(0)[y, x] == 2
    drag(opened, (x - 7, y + 5), (x + 7, y + 5))
    assert (project.labels(0)[y + 5, x - 7 : x + 7] == 2).all()
    drag(opened, (x - 20, 40), (x - 20, 68), button="right")
    assert not (project.labels(0)[41:, x - 20] == 2).any()
    assert overlap(target, 0, 2) > 0.85
    before = project.labels(0)
    opened.keyboard.press("c")
    opened.keyboard.press("Escape")
    drag(opened, (x, y), button="right")
    after = project.labels(0)
    assert after[y, x] != 2
    around = np.s_[y - 4 : y + 5, x - 4 : x + 5]
    assert (after[around] == 2).sum() < (before[around] == 2).sum()
    assert (after[y + 5, x - 7 : x + 7] == 2).any(), "a new point mends the mask, it does not begin anew"
    for _ in range(7):
        with opened.expect_response("**/do/undo"):
            opened.keyboard.press("z")
    assert (project.labels(0) == masks[0]).all()


def test_a_hand_that_is_quicker_than_the_server(
    opened: Page, target: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(studio: Studio, name: str) -> int:
        time.sleep(0.3)
        return add_object(studio, name)

    add_object = Studio.add_object
    monkeypatch.setattr(Studio, "add_object", slowly)
    middles = [[int(v.mean()) for v in np.nonzero(labels(0) == i)[::-1]] for i in (1, 2)]
    opened.keyboard.press("c")
    opened.mouse.click(*point(opened, *middles[0]))
    opened.mouse.click(*point(opened, middles[0][0] + 2, middles[0][1]))
    opened.keyboard.press("n")
    opened.mouse.click(*point(opened, *middles[1]))
    expect(opened.locator(".row.object.chosen")).to_have_attribute("data-id", "2")
    opened.keyboard.press("n")
    opened.keyboard.press("1")
    opened.keyboard.press(" ")
    expect(opened.locator("#place")).to_contain_text("frame 11 of 11")
    project = target.studio.opened()
    assert list(project.objects) == [1, 2, 3]
    assert [int(project.labels(0)[y, x]) for x, y in middles] == [1, 2]
    assert [project.code(i, 0) for i in (1, 2, 3)] == [GIVEN, GIVEN, NONE]
    expect(opened.locator(".row.object.chosen")).to_have_attribute("data-id", "1")


def test_back_from_the_last_frame_and_names(opened: Page, target: Served) -> None:
    opened.keyboard.press("End")
    expect(opened.locator("#place")).to_contain_text("frame 11 of 11")
    box_around(opened, 11, 1)
    name = opened.locator(".row.object input")
    name.fill("bright square")
    name.press("Enter")
    tracked(opened, target, "Shift+ ")
    project = target.studio.opened()
    assert NONE not in project.row(1)
    assert project.objects == {1: "bright square"}
    expect(opened.locator("#of")).to_contain_text("bright square")


def test_a_tab_is_reloaded_and_closed_while_objects_are_followed(
    browser: Browser, page: Page, target: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*given: Any) -> SegmentationResult:  # so that a busy browser is there before the end
        time.sleep(0.05)
        return step(*given)

    step = SegmentationSession.step
    monkeypatch.setattr(SegmentationSession, "step", slowly)
    target.studio.open(write_video(tmp_path / "long.mp4", 240))
    read_all(target.studio)
    expect(page.locator("#name")).to_contain_text("240 frames")
    box_around(page, 0, 1)
    with page.expect_response("**/do/track"):
        page.keyboard.press(" ")
    expect(page.locator("#status")).to_contain_text("tracking forward")
    page.reload()
    expect(page.locator("#status")).to_contain_text("tracking forward")
    expect(page.locator("#track")).to_contain_text("Pause")
    page.close()
    assert target.studio.tracker is not None
    was = target.studio.tracker.at
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(target.address)
        expect(tab.locator("#name")).to_contain_text("240 frames")
        tab.locator("#track").click()
        expect(tab.locator("#track")).to_contain_text("Track")
    assert not target.studio.tracker.running
    assert target.studio.tracker.at > was


def test_errors_are_shown_in_a_line(opened: Page) -> None:
    opened.keyboard.press(" ")
    expect(opened.locator("#toast")).to_have_text("nothing is drawn at frame 0: draw an object first")
    opened.locator("#file").set_input_files({"name": "x.txt", "mimeType": "text/plain", "buffer": b"no"})
    expect(opened.locator("#toast")).to_contain_text("drop a video file")


def test_foreseen_frames_in_the_second_tab(opened: Page, target: Served) -> None:
    opened.keyboard.press("ArrowRight")
    opened.get_by_role("tab", name="Predict").click()
    with opened.expect_response("**/do/predict", timeout=60_000):
        opened.get_by_role("button", name="Predict from here").click()
    expect(opened.locator("#predicted")).to_contain_text("1 of 10 frames after frame 1")
    opened.locator("#ahead").fill("10")
    expect(opened.locator("#predicted")).to_contain_text("10 of 10 frames after frame 1")
    assert (
        opened.locator("#foreseen").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    )
