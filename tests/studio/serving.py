"""A studio that is served in a thread, and plain requests to it."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stremn.studio import Studio
from stremn.studio.server import serve


@dataclass(frozen=True)
class Served:
    """A studio and where it is."""

    studio: Studio
    address: str

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def headers(self, **others: str) -> dict[str, str]:
        return {"Cookie": f"stremn-{self.port}={self.token}", **others}

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; as the page asks, unless other headers are given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, self.headers() if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def do(self, verb: str, **values: Any) -> Any:
        status, body = self.ask("POST", f"/do/{verb}", json.dumps(values))
        found = json.loads(body)
        return found["answer"] if status == 200 else found["error"]

    def state(self) -> dict[str, Any]:
        return json.loads(self.ask("GET", "/state")[1])


@contextmanager
def served(studio: Studio) -> Iterator[Served]:
    """Serve it within the context."""
    ready, addresses, loops, ends = threading.Event(), [], [], []

    async def run() -> None:
        end = asyncio.Event()
        async with serve(studio) as address:
            addresses.append(address)
            loops.append(asyncio.get_running_loop())
            ends.append(end)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(30)
    try:
        yield Served(studio, addresses[0])
    finally:
        loops[0].call_soon_threadsafe(ends[0].set)
        thread.join(30)
        assert not thread.is_alive()


def read_all(studio: Studio) -> None:
    """Until the video was read, or refused."""
    if studio._reader is not None:
        studio._reader.join(60)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
