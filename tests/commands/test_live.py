"""``stremn live``, watched on its page."""

import json
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, NOWHERE, interrupt_at, run

from small_data import frame
from stremn.commands.screens import Page
from stremn.files import open_source


def test_a_file_is_followed_and_latency_is_told(
    video: Path, mask: Path, weights: Path, tmp_path: Path
) -> None:
    told = tmp_path / "live.json"
    shown = ("--model", weights, "--size", 48, "--page", "--json", told)
    done = run("live", video, "--masks", mask, *shown)
    assert done.status == 0
    summary = json.loads(told.read_text())
    assert 1 <= summary["frames"] <= 7
    assert summary["dropped"] == round(1 - summary["frames"] / 7, 4)
    assert summary["latency_ms"]["p95"] >= summary["latency_ms"]["median"] > 0
    assert summary["settings"]["model"] == str(weights)
    assert done.out.startswith(f"{summary['frames']} frames shown, {summary['dropped']:.0%} dropped; from")
    assert "watch at http://127.0.0.1:" in done.err


def test_it_ends_with_ctrl_c(video: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = interrupt_at(2, monkeypatch)
    shown = ("--box", "1:4,6,21,21", "--page")
    done = run("live", video, *shown, "--model", weights, "--size", 48)
    assert (done.status, len(begun)) == (0, 2)
    assert done.out.startswith("0 frames shown, 0% dropped")


@pytest.mark.skipif("DISPLAY" in os.environ, reason="there is a display")
def test_without_a_display_the_page_is_named(video: Path, mask: Path) -> None:
    done = run("live", video, "--masks", mask, "--model", NOWHERE)
    assert done.status == BAD_INPUT
    assert "give --page" in done.err
    assert NOWHERE not in done.err


def test_the_page_sends_the_newest_picture_to_each_viewer() -> None:
    page, found = Page(), list[np.ndarray]()

    def watch() -> None:
        with open_source(f"{page.url}stream") as stream:
            found.extend(seen.image for seen in stream)

    viewers = [threading.Thread(target=watch) for _ in range(2)]
    for viewer in viewers:
        viewer.start()
    with urllib.request.urlopen(page.url, timeout=10) as html:
        assert b'src="stream"' in html.read()
    stopped = threading.Event()
    while len(found) < 6 and not stopped.wait(0.02):
        page.show(frame(3))
    page.close()
    for viewer in viewers:
        viewer.join(20)
    assert all(np.abs(image.astype(int) - frame(3)).mean() < 6 for image in found)


@pytest.mark.parametrize("path", ["/", "/stream", "/guess/", "/../stream"])
def test_who_does_not_know_the_address_sees_nothing(path: str) -> None:
    page = Page()
    page.show(frame(0))
    try:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(page.url[: page.url.index("/", 8)] + path, timeout=10)
    finally:
        page.close()


def test_a_taken_port_is_told(video: Path, mask: Path) -> None:
    page = Page()
    port = page.url.split(":")[2].split("/")[0]
    done = run("live", video, "--masks", mask, "--page", "--port", port)
    page.close()
    assert (done.status, done.err) == (
        BAD_INPUT,
        f"stremn: port {port} is taken: give another --port, or none\n",
    )
