"""Files of tensors: what a process that is killed while it writes one leaves behind."""

import signal
import subprocess
import sys
from pathlib import Path

import torch

from stremn.files.tensors import read_tensors, write_tensors

WRITE = """
import resource, signal, sys, torch
from pathlib import Path
from stremn.files.tensors import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; this kills, at a known byte
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
write_tensors(Path(sys.argv[1]), {"x": torch.zeros(4000)}, "key", "killed")
"""


def test_killed_while_writing(tmp_path: Path) -> None:
    """Wherever it is killed, the old file stays whole and the next write leaves nothing but the new one."""
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"x": torch.ones(3)}, "key", "old")
    for limit in (0, 50, 8000):
        command = [sys.executable, "-c", WRITE, str(path), str(limit)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGXFSZ
        assert read_tensors(path, "key", "the test")[1] == "old"
    write_tensors(path, {"x": torch.zeros(3)}, "key", "new")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
