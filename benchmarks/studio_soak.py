"""Whether the studio's memory stays flat: objects followed through the same small video again and again.

``python benchmarks/studio_soak.py --minutes 60 --browser chromium`` has the page open in a browser, and
prints resident memory and open files as time goes. Without a browser it asks what the page would.
"""

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "studio")]

from serving import Served, read_all, served  # noqa: E402

from small_data import labels, write_video  # noqa: E402
from stremn import SegmentationSession  # noqa: E402
from stremn.studio import Studio  # noqa: E402


def watch(target: Served) -> None:
    """A tab: reads the news until the server ends."""
    line = http.client.HTTPConnection("127.0.0.1", target.port)
    line.request("GET", "/news", headers=target.headers())
    answer = line.getresponse()
    while answer.readline():
        pass


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--browser")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "loop.mp4", asked.frames)
        studio = Studio(Path(folder) / "studio", lambda: SegmentationSession("stremn-lite", size=64))
        with served(studio) as target:
            studio.open(video)
            read_all(studio)
            threading.Thread(target=watch, args=(target,), daemon=True).start()
            if asked.browser:
                options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
                options += [f"--user-data-dir={folder}/browser", target.address]
                browser = subprocess.Popen([asked.browser, *options], stderr=subprocess.DEVNULL)
            project, process = studio.opened(), psutil.Process()
            began, told, rounds, most = time.monotonic(), -1e9, 0, 0
            while time.monotonic() - began < 60 * asked.minutes:
                frame, direction = (0, 1) if rounds % 2 == 0 else (project.count - 1, -1)
                if not project.objects:
                    target.do("add_object", name="square")
                ys, xs = np.nonzero(labels(frame) == 1)
                around = [int(xs.min()) - 3, int(ys.min()) - 3, int(np.ptp(xs)) + 7, int(np.ptp(ys)) + 7]
                drawn = {
                    "frame": frame,
                    "object_id": 1,
                    "tool": "prompt",
                    "points": [],
                    "radius": 1,
                    "box": around,
                    "scribble": [],
                }
                target.do("draw", **drawn)
                target.do("track", frame=frame, direction=direction)
                tracker = studio.tracker
                assert tracker is not None
                while tracker.running:
                    at = max(tracker.at, 0)
                    for path in (f"/frame/{at}", f"/mask/{at}", f"/slots/{at}", f"/thumbnail/{at}/1"):
                        assert target.ask("GET", path)[0] == 200, path
                    most = max(most, process.memory_info().rss >> 20)
                    time.sleep(0.05)
                target.do("undo")
                target.state()
                rounds += 1
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    minutes, mib = (told - began) / 60, process.memory_info().rss >> 20
                    tab = sum(child.memory_info().rss for child in process.children(recursive=True)) >> 20
                    print(
                        f"{minutes:5.1f} min, {rounds} runs, {mib} MiB (most {most}), "
                        f"{process.num_fds()} files, browser {tab} MiB",
                        flush=True,
                    )
            if asked.browser:
                browser.terminate()
                browser.wait()


if __name__ == "__main__":
    main()
