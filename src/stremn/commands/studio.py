"""``stremn studio``: a page in the browser to draw objects, watch them being followed, correct and export."""

from __future__ import annotations

import asyncio
import importlib.util
import webbrowser
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from stremn.commands import options
from stremn.commands.bundles import bundled
from stremn.commands.console import note, say, stop_between_frames
from stremn.errors import StremnError

if TYPE_CHECKING:
    from stremn.commands.console import Stop
    from stremn.studio import Studio

__all__ = ["studio"]


@partial(bundled, without=("multi_scale", "postprocess"))
def studio(
    video: Annotated[
        Path | None,
        typer.Argument(help="Video file or folder of frames; or drop one on the page."),
    ] = None,
    *,
    asked: options.SessionOptions,
    out: Annotated[Path, typer.Option(help="Folder; each video gets a folder of its own in it.")] = Path(
        "studio"
    ),
    port: Annotated[int, typer.Option(help="Of the page on this machine; 0 is any free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Draw objects in a video, watch them being followed, correct and export, on a page in the browser."""
    if importlib.util.find_spec("aiohttp") is None:
        raise StremnError("the studio needs aiohttp: pip install 'stremn[studio]'")
    from stremn.sessions import SegmentationSession
    from stremn.studio import Studio

    behind = Studio(out, lambda: SegmentationSession(asked.model, asked.segmentation()))
    if video is not None:
        behind.open(video.expanduser())
    Thread(target=behind.warm_up).start()
    with stop_between_frames() as stop:
        asyncio.run(_serve(behind, port, browser, stop))


async def _serve(behind: Studio, port: int, browser: bool, stop: Stop) -> None:
    """Until Ctrl-C."""
    from stremn.studio.server import serve

    async with serve(behind, port) as address:
        say(address)
        note("open it in a browser on this machine; Ctrl-C ends")
        if browser:
            await asyncio.to_thread(webbrowser.open, address)
        while not stop:
            await asyncio.sleep(0.2)
