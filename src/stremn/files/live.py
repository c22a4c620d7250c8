"""A source watched as it happens: the newest frame, and never a queue."""

import threading
import time
from collections.abc import Callable, Generator
from typing import NamedTuple

from stremn.files.frames import Frame, FrameSource

__all__ = ["LiveFrame", "newest_frames"]

_DEFAULT_RATE = 25


class LiveFrame(NamedTuple):
    """A frame, and when it was decoded, in seconds of ``time.monotonic``; of a file, when its turn came."""

    frame: Frame
    captured: float


def newest_frames(
    source: FrameSource, keep: Callable[[Frame], bool] = lambda frame: False
) -> Generator[LiveFrame]:
    """Yield the first frame of a source, then always the newest; those that came meanwhile are dropped.

    From the second frame on the source is read in a thread, which closes it. What does not come in its own
    time, such as a file, is played at its rate.

    Args:
        source: of the frames.
        keep: tells frames that are not to be dropped.

    Raises:
        StremnError: what the source raises.
    """
    frames, rate = iter(source), float(source.frame_rate or _DEFAULT_RATE)
    changed, waiting, errors = threading.Condition(), list[LiveFrame](), list[BaseException]()
    stopped = ended = False

    def read() -> None:
        nonlocal ended
        started = time.monotonic() - begin
        try:
            with source:
                for frame in frames:
                    captured = time.monotonic()
                    with changed:
                        if not source.live:
                            captured = started + frame.index / rate
                            changed.wait_for(lambda: stopped, captured - time.monotonic())
                        if stopped:
                            return
                        kept = (other for other in waiting if keep(other.frame))
                        waiting[:] = [*kept, LiveFrame(frame, captured)]
                        changed.notify_all()
        except BaseException as error:
            errors.append(error)
        finally:
            with changed:
                ended = True
                changed.notify_all()

    first = next(frames)
    begin = first.index / rate
    yield LiveFrame(first, time.monotonic())
    del first
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended)
                if not waiting:
                    break
                newest = waiting.pop(0)
            yield newest
        if errors:
            raise errors[0]
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        reader.join()
