"""Records the studio for the README: a picture and a short film of a person at work in it.

``python docs/use/record_studio.py FOLDER`` leaves ``studio.jpg`` and ``studio.gif`` there. It needs Chromium
and the extra ``dev``.
"""

import asyncio
import io
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from stremn.commands.demo import sample_video
from stremn.sessions import SegmentationSession
from stremn.studio import Studio
from stremn.studio.server import serve

SIZE, FILM, COLOURS, STEP = (1280, 760), (640, 380), 128, 4
BOX = ((0.16, 0.33), (0.42, 0.80))
"""Around the rabbit of the first frame, in shares of the picture."""

EARS = ((0.385, 0.33), (0.365, 0.28), (0.43, 0.30))
"""Of the rabbit, which are missed when it rises."""

STONE = ((0.12, 0.50), (0.15, 0.56), (0.19, 0.60), (0.23, 0.68))
"""A line on what lies beside it and is taken for a part of it."""


@contextmanager
def served(studio: Studio) -> Iterator[str]:
    """The address of the page, for as long as the context lasts."""
    ready, done, addresses = threading.Event(), threading.Event(), list[str]()

    async def run() -> None:
        async with serve(studio) as address:
            addresses.append(address)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait()
    try:
        yield addresses[0]
    finally:
        done.set()
        thread.join()


def record(page: Page, studio: Studio, film: list[Image.Image]) -> bytes:
    """Box, track, correct, track on; the picture that is shown at the end."""

    def shoot(times: int = 1) -> None:
        picture = (
            Image.open(io.BytesIO(page.screenshot())).convert("RGB").resize(FILM, Image.Resampling.LANCZOS)
        )
        film.extend([picture] * times)

    def move(x: float, y: float) -> None:
        box = page.locator("#drawing").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def track(until: int) -> None:
        with page.expect_response("**/do/track"):
            page.keyboard.press(" ")
        tracker, shown = studio.tracker, 0
        assert tracker is not None
        while tracker.running and tracker.at < until:
            page.wait_for_timeout(50)
            if tracker.at >= shown + STEP:
                shown = tracker.at
                shoot()
        with page.expect_response("**/do/pause"):
            page.keyboard.press(" ")
        page.wait_for_timeout(1500)
        shoot(4)

    def drag(*places: tuple[float, float], button: Literal["left", "right"] = "left") -> None:
        move(*places[0])
        page.mouse.down(button=button)
        for place in places[1:]:
            move(*place)
            shoot()
        with page.expect_response("**/do/draw"):
            page.mouse.up(button=button)
        page.wait_for_timeout(500)

    page.locator("#name", has_text="132 frames").wait_for()
    page.wait_for_timeout(500)
    shoot(4)
    (left, top), (right, bottom) = BOX
    drag(*((left + k / 4 * (right - left), top + k / 4 * (bottom - top)) for k in range(5)))
    name = page.locator(".row.object input")
    name.fill("rabbit")
    name.press("Enter")
    page.wait_for_timeout(500)
    shoot(5)
    track(24)
    page.keyboard.press("c")
    for place in EARS:
        drag(place)
        shoot(2)
    track(42)
    drag(*STONE, button="right")
    shoot(4)
    track(62)
    return page.screenshot(type="jpeg", quality=82)


def main(folder: Path) -> None:
    """Write both files."""
    film: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as root, sync_playwright() as play:
        studio = Studio(Path(root) / "studio", lambda: SegmentationSession("stremn-lite", size=240))
        studio.open(sample_video())
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        with served(studio) as address:
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.goto(address)
            (folder / "studio.jpg").write_bytes(record(page, studio, film))
            browser.close()
    palette = film[len(film) // 2].quantize(COLOURS)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in film]
    frames[0].save(
        folder / "studio.gif", save_all=True, append_images=frames[1:], duration=250, loop=0, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
