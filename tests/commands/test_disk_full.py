"""A disk that fills up in the middle of a run."""

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runs import BAD_INPUT, Run, Task, assert_complete_files_only, run

from small_data import write_video


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "long.mp4", 40)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not permitted here; the limit on file sizes below stands in")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def assert_full(done: Run, out: Path) -> None:
    last = done.err.splitlines()[-1]
    assert last.startswith(f"stremn: disk full while writing {out}/")
    assert last.endswith(": free some space, or choose another folder")
    assert done.status == BAD_INPUT
    assert "Traceback" not in done.err
    assert not (out / "summary.json").exists()
    assert_complete_files_only(out)


def test_small_disk(task: Task, small_disk: Path, long_video: Path) -> None:
    out = small_disk / "out"
    assert_full(run(*task.args(long_video, out)), out)
    assert list((out / task.pictures).iterdir())


def test_limit_on_file_sizes(task: Task, long_video: Path, tmp_path: Path) -> None:
    """No file may grow beyond 3 kB."""
    out, before = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        done = run(*task.args(long_video, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_full(done, out)
