"""Where live frames are shown: in a window, or on a page of this machine."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from stremn.errors import StremnError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Page", "Window"]

_HTML = b"""<!doctype html><title>stremn live</title>
<style>body { margin: 0; background: #111 } img { width: 100vw; height: 100vh; object-fit: contain }</style>
<img src="stream" alt="live">
"""
_QUIT = {ord("q"), 27}
_UNSENT = 1 << 16  # bytes that the system may hold for a viewer who is slow


class Window:
    """A window of OpenCV, until it is closed or q or Esc is pressed.

    Raises:
        StremnError: if there is no display, or OpenCV came without windows.
    """

    def __init__(self, title: str) -> None:
        import cv2

        if "GUI:                           NONE" in cv2.getBuildInformation():
            raise StremnError("OpenCV has no windows here: install opencv-python, or give --page")
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise StremnError("there is no display for a window: give --page")
        self._title = title
        cv2.namedWindow(title, cv2.WINDOW_NORMAL)

    def show(self, image: np.ndarray) -> bool:
        """Show a picture ``(H, W, 3)`` uint8 RGB; False once the user has closed the window."""
        import cv2

        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        pressed = cv2.waitKey(1) & 0xFF in _QUIT
        return not pressed and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        import cv2

        cv2.destroyAllWindows()


class Page:
    """A page with the newest picture as motion JPEG, for this machine only and whoever knows its address.

    Attributes:
        url: of the page; ``stream`` below it is the motion JPEG.

    Args:
        port: to listen at; 0 is a free one.

    Raises:
        StremnError: if the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._changed = threading.Condition()
        self._jpeg, self._count, self._closed = b"", 0, False
        root = f"/{secrets.token_urlsafe(16)}/"
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == root:
                    page._begin(self, "text/html")
                    self.wfile.write(_HTML)
                elif self.path == f"{root}stream":
                    page._begin(self, "multipart/x-mixed-replace; boundary=frame")
                    page._send(self)
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise StremnError(f"port {port} is taken: give another --port, or none") from error
        self.url = f"http://127.0.0.1:{self._server.server_port}{root}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def show(self, image: np.ndarray) -> bool:
        """Show a picture ``(H, W, 3)`` uint8 RGB in place of the last one; always True."""
        from stremn.files.images import jpeg

        shown = jpeg(image)
        with self._changed:
            self._jpeg, self._count = shown, self._count + 1
            self._changed.notify_all()
        return True

    def close(self) -> None:
        """End the stream of every viewer, and the page."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _begin(viewer: BaseHTTPRequestHandler, kind: str) -> None:
        viewer.send_response(200)
        viewer.send_header("Content-Type", kind)
        viewer.send_header("Cache-Control", "no-store")
        viewer.end_headers()

    def _send(self, viewer: BaseHTTPRequestHandler) -> None:
        """Send each viewer the newest picture as fast as the viewer takes them."""
        viewer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT)
        seen = 0
        # Browsers show a part when the boundary after it has come, so that is sent along.
        with suppress(OSError):
            viewer.wfile.write(b"--frame\r\n")
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._count != seen)  # noqa: B023
                    if self._closed:
                        return
                    jpeg, seen = self._jpeg, self._count
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                viewer.wfile.write(head.encode() + jpeg + b"\r\n--frame\r\n")
