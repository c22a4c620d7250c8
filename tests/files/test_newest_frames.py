"""The newest frame of a source, and never a queue."""

import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from small_data import RATE, write_video
from stremn.errors import StremnError
from stremn.files import Frame, FrameSource, newest_frames, open_source


class _Source(FrameSource):
    """Twenty frames as fast as they are read, or a fault in place of the last; tells when all were read."""

    def __init__(self, fault: bool = False) -> None:
        super().__init__("fast")
        self.live, self._fault = True, fault
        self.read, self.closed = threading.Event(), False
        self.images = weakref.WeakSet[Frame]()

    def _decode(self) -> Iterator[Frame]:
        for index in range(20):
            if self._fault and index == 19:
                raise StremnError("fast gives no more pictures")
            frame = Frame(index, str(index), np.full((8, 8, 3), index, np.uint8))
            self.images.add(frame)
            yield frame
            del frame
        self.read.set()

    def close(self) -> None:
        self.closed = True


def test_frames_that_nobody_waits_for_are_dropped() -> None:
    source = _Source()
    stream = newest_frames(source)
    assert next(stream).frame.index == 0
    shown = [next(stream).frame.index]
    source.read.wait(20)
    assert len(source.images) <= 2, "no queue"
    shown += [frame.index for frame, _ in stream]
    assert shown[-1] == 19
    assert len(shown) == len(set(shown)) <= 2
    assert source.closed


def test_frames_that_are_to_be_kept_are_not_dropped() -> None:
    source = _Source()
    stream = newest_frames(source, lambda frame: frame.index in (3, 11))
    shown = [next(stream).frame.index]
    source.read.wait(20)
    shown += [frame.index for frame, _ in stream]
    assert {0, 3, 11, 19} <= set(shown)
    assert len(shown) == len(set(shown)) <= 5
    assert shown == sorted(shown)


def test_a_fault_comes_after_the_last_frame() -> None:
    stream, seen = newest_frames(_Source(fault=True)), list[int]()
    with pytest.raises(StremnError, match="no more pictures"):
        seen.extend(frame.index for frame, _ in stream)
    assert seen[-1] == 18


def test_who_stops_early_closes_the_source(tmp_path: Path) -> None:
    source = _Source()
    stream = newest_frames(source)
    next(stream), next(stream)
    stream.close()
    assert source.closed


def test_a_file_is_played_at_its_rate(tmp_path: Path) -> None:
    played = list(newest_frames(open_source(write_video(tmp_path / "a.mp4", 8))))[1:]
    begin = played[0].captured - played[0].frame.index / RATE
    assert played[-1].frame.index == 7
    for frame, captured in played:
        assert captured - begin == pytest.approx(float(frame.index / RATE))
