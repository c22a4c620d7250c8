"""``stremn demo``: the sample is there, its mask fits, and both tasks are run on it."""

import importlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_runs import BAD_INPUT, assert_complete_files_only, run

from stremn.commands.demo import HORIZON, OBSERVE, SIZE, START, sample_mask, sample_video
from stremn.files import MaskSchedule, open_source
from stremn.models import checkpoint


def test_the_sample_mask_fits_the_sample_video() -> None:
    with open_source(sample_video()) as source:
        first = next(iter(source))
        labels = MaskSchedule(sample_mask(), source.frame_names).at(first)
    assert labels is not None
    assert labels.shape == first.image.shape[:2]
    ids, counts = np.unique(labels, return_counts=True)
    assert ids.tolist() == [0, 1, 2]
    assert counts.min() > 10000
    assert source.frame_count == 132


def test_without_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("demo")
    assert done.err == "stremn: the sample videos are not installed: pip install 'stremn[demo]'\n"
    assert done.status == BAD_INPUT


def test_both_tasks(predictor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segmentation has tests of its own: here it is only asked for; the prediction is made."""
    asked: list[dict[str, Any]] = []

    def segment(**options: Any) -> None:
        asked.append(options)

    # Under its name the package has the function; the module has what that calls.
    monkeypatch.setattr(importlib.import_module("stremn.commands.demo"), "segment", segment)
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path)
    shutil.copy(predictor, tmp_path / "stremn-motion.safetensors")
    out = tmp_path / "out"
    done = run("demo", "--out", out)
    assert done.status == 0, done.err
    chosen = {"masks": sample_mask(), "out": out, "size": SIZE, "overwrite": False}
    assert asked == [{"source": str(sample_video())} | chosen]
    summary = json.loads((out / "prediction" / "summary.json").read_text())
    assert summary["observed_frames"] == {"first": START, "last": START + OBSERVE - 1}
    assert summary["frames"] == HORIZON
    assert all(frame["prediction"] is not None for frame in summary["by_frame"])
    assert_complete_files_only(out)
