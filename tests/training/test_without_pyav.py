"""Training on videos that are folders of frames needs neither PyAV nor what only commands and plots need."""

import subprocess
import sys
from pathlib import Path

from small_data import write_davis

CODE = """
import sys
for name in ("av", "typer", "rich", "matplotlib"):
    sys.modules[name] = None
import torch
from stremn.models import create_model, save_pretrained
from stremn.training import SegmentationRecipe, train

videos, start, out = sys.argv[1:]
save_pretrained(create_model("stremn-lite"), start)
recipe = SegmentationRecipe(
    start=start, videos=(videos,), held_out=("apart",), video_share=1.0, frames=(3,), size=(32,), batch=(1,),
    steps=2, warmup=0, workers=0, precision="no", validate_every=2, validate_size=32, deterministic=False,
)
print(train(recipe, out))
"""


def test_two_steps_and_a_validation(tmp_path: Path) -> None:
    arguments = (
        write_davis(tmp_path / "davis", {"one": 4, "apart": 3}),
        tmp_path / "start",
        tmp_path / "run",
    )
    command = [sys.executable, "-c", CODE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model.safetensors'}\n"
