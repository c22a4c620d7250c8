"""Requests of someone who should not come in, and uploads that break: seeded, over plain sockets.

``python tests/studio/hostile.py 2000`` sends as many and prints what came back.
"""

import json
import random
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from serving import Served, read_all, served

from small_data import write_video
from stremn.studio import Studio

PATHS = (
    "/",
    "/state",
    "/frame/0",
    "/mask/0",
    "/thumbnail/0/1",
    "/slots/0",
    "/studio.js",
    "/export/masks.zip",
)
TRICKS = (
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/frame/..%2f..%2fproject.json",
    "/export/..%2fproject.json",
    "/export/%2e%2e%2fproject.json",
    "/export/project.json",
    "/frame/-1",
    "/frame/99999999999999",
    "/frame/1e3",
    "/thumbnail/0/999",
    "/studio.js%00.css",
    "/project.json",
    "/export/masks.zip/..",
    "//etc/passwd",
    "/do/__class__",
    "/do/close",
    "/do/open",
)
BODIES = (
    "",
    "[]",
    "{",
    "null",
    '{"frame": NaN}',
    "[" * 100_000,
    json.dumps({"frame": 10**30, "direction": 1}),
    json.dumps(
        {"frame": 0, "object_id": 7, "tool": "brush", "points": [[1e308, -1e308]], "radius": 1e9, "box": None}
    ),
    json.dumps({"frame": 0, "object_id": 1, "tool": "../x", "points": [[1, 1]], "radius": 1, "box": None}),
    json.dumps({"frame": 0, "object_id": 1, "tool": "prompt", "points": [[1, "a"]], "radius": 1, "box": [1]}),
    json.dumps({"name": "../../evil"}),
    json.dumps({"name": "x" * 10_000}),
    "x" * 2_000_000,
)
REFUSED = range(400, 500)


def exchange(port: int, data: bytes, hurry: bool = False) -> int:
    """Send bytes; the status of what comes back, 0 if the line was closed without an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        try:
            line.sendall(data)
            if hurry:
                return 0
            answer = line.recv(64)
        except (ConnectionError, TimeoutError):
            return 0
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def request(
    target: Served, method: str, path: str, body: bytes = b"", length: int | None = None, **headers: str
) -> bytes:
    named = {"Host": f"127.0.0.1:{target.port}", "Connection": "close"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    named["Content-Length"] = str(len(body) if length is None else length)
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace") + body


def attacks(target: Served, video: bytes) -> dict[str, Callable[[random.Random], tuple[bytes, bool]]]:
    """By kind, what makes one from a random number generator, and whether its sender hangs up at once."""
    cookie = f"stremn-{target.port}={target.token}"
    upload = "/upload?name=clip.mp4"

    def wrong_token(rng: random.Random) -> tuple[bytes, bool]:
        token = rng.choice(["", "x" * 32, target.token[:-1], target.token.lower() + "x", "é" * 9, "\x7f" * 9])
        path = rng.choice([*PATHS, f"/?token={token}", f"/state?token={target.token}"])
        return request(target, "GET", path, Cookie=f"stremn-{target.port}={token}"), False

    def foreign_origin(rng: random.Random) -> tuple[bytes, bool]:
        origin = rng.choice(["http://evil.example", "null", f"http://127.0.0.1:{target.port}.evil.example"])
        verb = rng.choice(["undo", "pause", "add_object"])
        return request(target, "POST", f"/do/{verb}", b"{}", Origin=origin, Cookie=cookie), False

    def foreign_site(rng: random.Random) -> tuple[bytes, bool]:
        site = rng.choice(["cross-site", "same-site", "none"])
        return request(target, "POST", "/do/undo", b"{}", Sec_Fetch_Site=site, Cookie=cookie), False

    def foreign_host(rng: random.Random) -> tuple[bytes, bool]:
        host = rng.choice(["evil.example", f"evil.example:{target.port}", "127.0.0.1", "0.0.0.0", ""])
        return request(target, "GET", rng.choice(PATHS), Host=host, Cookie=cookie), False

    def path_trick(rng: random.Random) -> tuple[bytes, bool]:
        return request(target, rng.choice(["GET", "POST", "PUT"]), rng.choice(TRICKS), Cookie=cookie), False

    def bad_body(rng: random.Random) -> tuple[bytes, bool]:
        verb = rng.choice(["draw", "track", "export", "rename_object", "predict"])
        return request(target, "POST", f"/do/{verb}", rng.choice(BODIES).encode(), Cookie=cookie), False

    def oversize(rng: random.Random) -> tuple[bytes, bool]:
        size = rng.choice([2**30 + 1, 2**40, 2**62])
        return request(target, "POST", upload, video[:100], size, Cookie=cookie), False

    def no_video(rng: random.Random) -> tuple[bytes, bool]:
        name = rng.choice(["a.png", "a.mp4.exe", "..%2f..%2fa.sh", "", ".mp4%00.txt", "a" * 5000])
        return request(target, "POST", f"/upload?name={name}", video, Cookie=cookie), False

    def hung_up(rng: random.Random) -> tuple[bytes, bool]:
        cut = rng.randrange(1, len(video))
        return request(target, "POST", upload, video[:cut], len(video), Cookie=cookie), True

    def hung_up_reading(rng: random.Random) -> tuple[bytes, bool]:
        path = rng.choice(["/news", "/frame/0", "/mask/0", "/studio.js", "/thumbnail/0/1"])
        return request(target, "GET", path, Cookie=cookie), True

    def noise(rng: random.Random) -> tuple[bytes, bool]:
        start = rng.choice(
            [b"", b"GET / HTTP/1.1\r\n", b"POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"]
        )
        return start + rng.randbytes(rng.randrange(1, 3000)) + b"\r\n\r\n", rng.random() < 0.5

    kinds = (wrong_token, foreign_origin, foreign_site, foreign_host, path_trick, bad_body)
    kinds += (oversize, no_video, hung_up, hung_up_reading, noise)
    return {kind.__name__: kind for kind in kinds}


def attack(target: Served, video: bytes, count: int, seed: int = 0) -> dict[str, Counter[int]]:
    """Send so many requests, every kind in turn; by kind how often each status came back."""
    rng, kinds = random.Random(seed), attacks(target, video)
    found: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    for index in range(count):
        kind = [*kinds][index % len(kinds)]
        data, hurry = kinds[kind](rng)
        found[kind][exchange(target.port, data, hurry)] += 1
    return found


def broken_videos(video: bytes, count: int, seed: int = 0) -> list[bytes]:
    """A video cut off, and with damage in it."""
    rng, made = random.Random(seed), []
    for index in range(count):
        data = bytearray(video[: rng.randrange(1, len(video))] if index % 2 else video)
        for _ in range(0 if index % 2 else rng.randrange(1, 200)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        made.append(bytes(data))
    return made


def main(count: int) -> None:
    """Print what came back, and how much memory the server took before and after."""
    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "clip.mp4", 8)
        data = video.read_bytes()
        studio = Studio(Path(folder) / "studio")
        with served(studio) as target:
            studio.open(video)
            read_all(studio)
            process = psutil.Process()
            attack(target, data, 200, seed=1)
            before = process.memory_info().rss, process.num_fds()
            found = attack(target, data, count - count // 10)
            uploads: Counter[int] = Counter()
            for broken in broken_videos(data, count // 10):
                uploads[target.ask("POST", "/upload?name=clip.mp4", broken)[0]] += 1
                read_all(studio)
            for kind, statuses in {**found, "broken_video": uploads}.items():
                print(f"{kind:16} {dict(sorted(statuses.items()))}")
            after = process.memory_info().rss, process.num_fds()
            print(f"memory {before[0] >> 20} -> {after[0] >> 20} MiB, files {before[1]} -> {after[1]}")
            print("still answers:", target.ask("GET", "/state")[0])


if __name__ == "__main__":
    main(int(sys.argv[1]))
