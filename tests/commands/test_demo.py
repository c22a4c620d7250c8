"""``stremn demo``: the sample is there and its mask fits; the run itself is ``stremn segment``."""

import importlib.util

import numpy as np
import pytest
from command_runs import BAD_INPUT, run

from stremn.commands.demo import SAMPLES, sample_video
from stremn.files import open_masks, open_source


def test_the_sample_mask_fits_the_sample_video() -> None:
    with open_source(sample_video()) as source:
        first = next(iter(source))
        labels = open_masks(SAMPLES / "carphone.png", source).at(first)
    assert labels is not None
    assert labels.shape == first.image.shape[:2]
    ids, counts = np.unique(labels, return_counts=True)
    assert len(ids) > 2
    assert counts.min() > 50
    assert source.frame_count == 120


def test_without_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("demo")
    assert done.err == "stremn: the sample video is not installed: pip install 'stremn[demo]'\n"
    assert done.status == BAD_INPUT
