"""Files of tensors: what a process that is killed while it writes one leaves behind."""

import multiprocessing
import resource
import signal
from pathlib import Path

import torch

from stremn.files.tensors import read_tensors, write_tensors


def write_up_to(limit: int, path: Path) -> None:
    """The whole of a process that is killed by the kernel once a file has so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    write_tensors(path, {"x": torch.zeros(4000)}, "key", "killed")


def test_killed_while_writing(tmp_path: Path) -> None:
    """Wherever it is killed, the old file stays whole and the next write leaves nothing but the new one."""
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"x": torch.ones(3)}, "key", "old")
    for limit in (0, 50, 8000):
        process = multiprocessing.get_context("fork").Process(target=write_up_to, args=(limit, path))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGXFSZ
        assert read_tensors(path, "key", "the test")[1] == "old"
    write_tensors(path, {"x": torch.zeros(3)}, "key", "new")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.arange(3.0) for name in "bca"}
    written = set()
    for _ in range(20):
        write_tensors(tmp_path / "file", tensors, "stremn_ключ", '"\\text\u2028" é')
        written.add((tmp_path / "file").read_bytes())
    assert len(written) == 1
    found, text = read_tensors(tmp_path / "file", "stremn_ключ", "")
    assert text == '"\\text\u2028" é'
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
