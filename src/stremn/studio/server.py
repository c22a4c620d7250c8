"""The studio's web server: who may come in, what can be asked, news as it happens."""

import asyncio
import hmac
import json
import logging
import math
import re
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any

from aiohttp import ClientError, web

from stremn.errors import StremnError, one_line
from stremn.files.names import VIDEO_SUFFIXES
from stremn.files.outputs import make_folder
from stremn.studio.pictures import mask_png, thumbnail
from stremn.studio.studio import Studio

__all__ = ["MOST_UPLOAD", "serve"]

log = logging.getLogger("stremn")

MOST_UPLOAD = 2**30
"""Bytes of a video that is dropped on the page."""

_MOST_BODY, _MOST_POINTS, _NEWS, _HEARTBEAT = 2**20, 20_000, 256, 15.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE = {"": "index.html", "studio.js": "studio.js", "studio.css": "studio.css", "icon.svg": "icon.svg"}
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 2**31:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return min(max(float(value), -1e5), 1e5)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise ValueError
    return re.sub(r"[\x00-\x1f\x7f]", " ", value)


def _points(value: Any) -> list[list[float]]:
    if not isinstance(value, list) or len(value) > _MOST_POINTS:
        raise ValueError
    points = [[_number(number) for number in point] for point in value if isinstance(point, list)]
    if len(points) < len(value) or any(len(point) not in (2, 3) for point in points):
        raise ValueError
    return points


def _scribble(value: Any) -> list[list[list[float]]]:
    if not isinstance(value, list):
        raise ValueError
    return [_points(line) for line in value]


def _box(value: Any) -> list[float] | None:
    if value is not None and (not isinstance(value, list) or len(value) != 4):
        raise ValueError
    return None if value is None else [_number(number) for number in value]


VERBS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "add_object": {"name": _text},
    "rename_object": {"object_id": _whole, "name": _text},
    "remove_object": {"object_id": _whole},
    "draw": {
        "frame": _whole,
        "object_id": _whole,
        "tool": _text,
        "points": _points,
        "radius": _number,
        "box": _box,
        "scribble": _scribble,
    },
    "clear": {"frame": _whole, "object_id": _whole},
    "undo": {},
    "track": {"frame": _whole, "direction": _whole},
    "pause": {},
    "export": {"name": _text},
    "predict": {"frame": _whole},
}
"""What can be done, by the name of a method of :class:`Studio`, with a check for each of its arguments."""


class _Server:
    """One studio behind a token."""

    def __init__(self, studio: Studio, token: str, port: int) -> None:
        self.studio, self.token = studio, token
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        # Browsers share cookies between the ports of a host.
        self.cookie = f"stremn-{port}"
        self.queues: set[asyncio.Queue[dict[str, Any]]] = set()
        self.uploading = asyncio.Lock()
        self.loop = asyncio.get_running_loop()
        studio.tell = self._tell
        page = resources.files("stremn.studio") / "page"
        self.page = {
            path: (_KINDS[Path(name).suffix], (page / name).read_text("utf-8"))
            for path, name in _PAGE.items()
        }

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard, self._plain_errors], client_max_size=_MOST_BODY)
        app.router.add_get("/{name:[a-z.]*}", self._file)
        app.router.add_get("/state", self._state)
        app.router.add_get("/news", self._news)
        app.router.add_get(r"/frame/{frame:\d{1,7}}", self._frame)
        app.router.add_get(r"/mask/{frame:\d{1,7}}", self._mask)
        app.router.add_get(r"/thumbnail/{frame:\d{1,7}}/{object:\d{1,3}}", self._thumbnail)
        app.router.add_get(r"/slots/{frame:\d{1,7}}", self._slots)
        app.router.add_get(r"/predicted/{frame:\d{1,7}}", self._predicted)
        app.router.add_get("/export/{name}", self._export)
        app.router.add_post("/do/{verb:[a-z_]+}", self._do)
        app.router.add_post("/upload", self._upload)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only this machine's own page comes in: by host, origin and token."""
        own = request.headers.get("Host", "") in self.hosts
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if not own or (origin is not None and origin.removeprefix("http://") not in self.hosts):
            return self._refused(403, "this page may only be asked from its own address")
        if request.method != "GET" and site != "same-origin":
            return self._refused(403, "this page may only be asked from its own address")
        given = request.query.get("token")
        if given is not None and self._right(given) and request.path == "/":
            answer = web.Response(status=303, headers={**_HEADERS, "Location": "/"})
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict", path="/")
            return answer
        if not self._right(request.cookies.get(self.cookie, "")):
            return self._refused(403, "open the address that stremn studio printed, with its token")
        return await handler(request)

    @web.middleware
    async def _plain_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """One line for whatever went wrong."""
        try:
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return self._refused(413, "that is too much at once")
        except web.HTTPException as error:
            return self._refused(error.status, error.reason.lower())
        except StremnError as error:
            return self._refused(400, str(error))
        except (ClientError, ConnectionError):
            return self._refused(400, "the connection was closed too early: try again")
        except OSError as error:
            return self._refused(507, f"{one_line(error)}: free some space")
        except Exception as error:
            log.exception("the studio could not answer %s", request.path)
            return self._refused(500, f"the studio could not do that: {one_line(error)}")

    def _right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(errors="replace"), self.token.encode())

    def _refused(self, status: int, why: str) -> web.Response:
        return web.json_response({"error": why}, status=status, headers=_HEADERS)

    def _tell(self, news: dict[str, Any]) -> None:
        """The same from any thread; news that come when the server has ended reach nobody."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._spread, news)

    def _spread(self, news: dict[str, Any]) -> None:
        """Give news to every tab; one that does not keep up is told to look anew."""
        for queue in self.queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                news = {"refresh": True}
            queue.put_nowait(news)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        found = self.page.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(text=found[1], content_type=found[0], headers=_HEADERS)

    async def _state(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await asyncio.to_thread(self.studio.state), headers=_HEADERS)

    async def _news(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, until the tab is closed."""
        answer = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await answer.prepare(request)
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_NEWS)
        self.queues.add(queue)
        try:
            await answer.write(b'data: {"refresh": true}\n\n')
            while True:
                try:
                    news = await asyncio.wait_for(queue.get(), _HEARTBEAT)
                    await answer.write(f"data: {json.dumps(news)}\n\n".encode())
                except TimeoutError:
                    await answer.write(b": still here\n\n")
        except ConnectionError:
            return answer
        finally:
            self.queues.discard(queue)

    async def _frame(self, request: web.Request) -> web.StreamResponse:
        project = self.studio.opened()
        frame = int(request.match_info["frame"])
        project.check(frame)
        return web.FileResponse(
            project.frame_file(frame), headers={**_HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    async def _mask(self, request: web.Request) -> web.StreamResponse:
        project, frame = self.studio.opened(), int(request.match_info["frame"])
        png = await asyncio.to_thread(lambda: mask_png(project.labels(frame)))
        return web.Response(body=png, content_type="image/png", headers=_HEADERS)

    async def _thumbnail(self, request: web.Request) -> web.StreamResponse:
        project, frame = self.studio.opened(), int(request.match_info["frame"])
        shown = int(request.match_info["object"])
        project.check(frame, shown)
        made = await asyncio.to_thread(
            lambda: thumbnail(project.image(frame), project.labels(frame) == shown, shown)
        )
        return web.Response(body=made, content_type="image/jpeg", headers=_HEADERS)

    async def _slots(self, request: web.Request) -> web.StreamResponse:
        slots = self.studio.slots(int(request.match_info["frame"]))
        return web.json_response(slots, headers=_HEADERS)

    async def _predicted(self, request: web.Request) -> web.StreamResponse:
        file = self.studio.predicted_file(int(request.match_info["frame"]))
        return web.FileResponse(file, headers=_HEADERS)

    async def _export(self, request: web.Request) -> web.StreamResponse:
        file = self.studio.exported(request.match_info["name"])
        named = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return web.FileResponse(file, headers={**_HEADERS, **named})

    async def _do(self, request: web.Request) -> web.StreamResponse:
        verb = request.match_info["verb"]
        checks = VERBS.get(verb)
        if checks is None:
            raise web.HTTPNotFound
        try:
            body = json.loads(await request.text() or "{}")
            if not isinstance(body, dict) or set(body) != set(checks):
                raise ValueError
            arguments = {name: check(body[name]) for name, check in checks.items()}
        except (ValueError, RecursionError) as error:
            raise StremnError(f"{verb} needs {', '.join(checks) or 'nothing'}") from error
        answer = await asyncio.to_thread(getattr(self.studio, verb), **arguments)
        self._spread({"refresh": True})
        return web.json_response({"answer": answer}, headers=_HEADERS)

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        """Take a video in as it comes, without holding it, and open it."""
        name = Path(request.query.get("name", "").replace("\\", "/")).name
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            raise StremnError("drop a video file: mp4, mov, mkv, webm, avi")
        if (request.content_length or 0) > MOST_UPLOAD:
            raise web.HTTPRequestEntityTooLarge(MOST_UPLOAD, request.content_length or 0)
        if self.uploading.locked():
            raise StremnError("another video is being uploaded: wait for it")
        async with self.uploading:
            # In a folder of its own, so that it may have its name.
            folder = self.studio.root / ".upload"
            make_folder(folder)
            file = folder / (re.sub(r"[^\w. -]", "-", name)[-80:])
            try:
                taken = 0
                with file.open("wb") as out:
                    async for chunk in request.content.iter_chunked(2**18):
                        taken += len(chunk)
                        if taken > MOST_UPLOAD:
                            raise web.HTTPRequestEntityTooLarge(MOST_UPLOAD, taken)
                        await asyncio.to_thread(out.write, chunk)
                await asyncio.to_thread(self.studio.open, file, upload=True)
            except BaseException:
                file.unlink(missing_ok=True)
                raise
        self._spread({"refresh": True})
        return web.json_response({"answer": None}, headers=_HEADERS)


@asynccontextmanager
async def serve(studio: Studio, port: int = 0) -> AsyncIterator[str]:
    """Serve a studio on this machine alone, for as long as the context lasts.

    Args:
        studio: what is served.
        port: 0 is any free one.

    Yields:
        The address to open, which holds a token made anew each time.

    Raises:
        StremnError: if the port is in use, or none.
    """
    if not 0 <= port < 2**16:
        raise StremnError(f"--port {port} is not from 0 to {2**16 - 1}: give another one, or 0 for any")
    token = secrets.token_urlsafe(24)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise StremnError(f"--port {port} is in use: give another one, or 0 for any") from error
    port = listener.getsockname()[1]
    server = _Server(studio, token, port)
    # aiohttp would print what strangers send; what goes wrong here is told by the handlers themselves.
    quiet = logging.Logger("studio", logging.CRITICAL)
    runner = web.AppRunner(server.application(), access_log=None, logger=quiet, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{port}/?token={token}"
    finally:
        await runner.cleanup()
        await asyncio.to_thread(studio.close)
