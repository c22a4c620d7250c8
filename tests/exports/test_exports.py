"""What holds for every export, from Python."""

import errno
import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from clips import COUNT, labels, write

from small_data import frame
from stremn import StremnError
from stremn.exports import EXPORTS, Exports, clear_exports, exporter, run

ALL = list(EXPORTS)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ALL)
def test_files_are_those_that_it_says_and_another_run_needs_overwrite(name: str, tmp_path: Path) -> None:
    write(tmp_path, [name])
    files = files_of(tmp_path)
    assert files == sorted(EXPORTS[name].found(tmp_path))
    assert "\n" not in EXPORTS[name].description
    with pytest.raises(StremnError, match=r"was exported already: remove it, or set 'overwrite'$"):
        Exports(tmp_path, [name])
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, [name], count=1, overwrite=True)
    assert len(files_of(tmp_path)) == 1 + len([p for p in files if p.stem[-1] not in "1234"])
    clear_exports(tmp_path)
    assert files_of(tmp_path) == [tmp_path / "notes.txt"]


@pytest.mark.parametrize("name", ALL)
def test_an_interrupted_run_is_exported_as_far_as_it_came(name: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Exports(tmp_path / "cut", [name]) as exports:  # noqa: PT012
        for index in range(3):
            exports.write(frame(index), labels(index))
        raise KeyboardInterrupt
    with Exports(tmp_path / "whole", [name]) as exports:
        for index in range(3):
            exports.write(frame(index), labels(index))
    for path in files_of(tmp_path / "whole"):
        cut = tmp_path / "cut" / path.relative_to(tmp_path / "whole")
        assert cut.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_no_frame_no_file_and_no_object_no_fault(name: str, tmp_path: Path) -> None:
    with Exports(tmp_path / "none", [name]):
        pass
    assert not (tmp_path / "none").exists()
    with Exports(tmp_path / "empty", [name]) as exports:
        exports.write(frame(0), np.zeros_like(labels(0)))
    assert files_of(tmp_path / "empty")


def test_several_at_once_give_what_each_gives_alone(tmp_path: Path) -> None:
    together = write(tmp_path / "together", ALL)
    for name in ALL:
        alone = write(tmp_path / name, [name])
        for path in files_of(alone):
            assert (together / path.relative_to(alone)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StremnError, match=f"^disk full while writing {tmp_path}/"):
        write(tmp_path, [name])
    assert files_of(tmp_path) == []
    if (descriptors := Path("/proc/self/fd")).is_dir():
        still_open = [os.readlink(link) for link in descriptors.iterdir() if link.is_symlink()]
        assert not [target for target in still_open if target.startswith(str(tmp_path))]


def test_a_full_disk_while_lines_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, line: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(exporter.Spool, "add", full)
    with pytest.raises(StremnError, match=r"^disk full while writing .*instances_default.json: free some"):
        write(tmp_path, ["coco"])


def test_unknown_and_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StremnError, match=f"^unknown export 'coko': choose one of {', '.join(ALL)}$"):
        Exports(tmp_path, ["coko"])
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    told = r"^export 'coco' needs pycocotools: pip install 'stremn\[export\]'$"
    with pytest.raises(StremnError, match=told):
        Exports(tmp_path, ["coco"])


@pytest.mark.parametrize(
    ("object_id", "name"), [(0, "a"), (256, "a"), (1, ""), (1, " "), (1, "a\nb"), (1, "\udc80")]
)
def test_names_that_no_format_can_hold(object_id: int, name: str, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"^name "):
        Exports(tmp_path, ["coco"], names={object_id: name})


def test_names_of_frames_with_odd_characters(tmp_path: Path) -> None:
    name = os.fsdecode(b'caf\xe9 "<&>\t\x01') + "🐕"
    with Exports(tmp_path, ALL) as exports:
        exports.write(frame(0), labels(0), name=name)
    assert {path.stem for path in tmp_path.rglob("*.jpg")} == {name}


def test_what_is_held_does_not_grow_with_the_video(tmp_path: Path) -> None:
    pictures = [(frame(index), labels(index)) for index in range(COUNT)]
    held = []
    with Exports(tmp_path, ALL) as exports:
        tracemalloc.start()
        for index in range(30):
            exports.write(*pictures[index % COUNT])
            if index in (9, 29):
                gc.collect()
                # The table of all strings that pathlib adds to grows when it must.
                ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, "*/pathlib*")])
                held.append(sum(trace.size for trace in ours.traces))
        tracemalloc.stop()
    # Caches of NumPy, and Pillow that loses 60 bytes with every PNG; a frame has 18,000, its labels 6,000.
    assert held[1] - held[0] < 20 * 1000
