"""The official tool's own figures, for generated masks and for real ones with faults added."""

import json
from pathlib import Path

import golden_masks
import numpy as np
import pytest

from stremn.metrics import ObjectScore, score_sequence

GOLDEN = json.loads(Path(__file__).with_name("golden_scores.json").read_text())


def assert_official(scores: list[ObjectScore], sequence: str) -> None:
    ours = {f"{s.sequence}_{s.object_id}": [getattr(s, n) for n in GOLDEN["figures"]] for s in scores}
    theirs = {name: row for name, row in GOLDEN["scores"].items() if name.rsplit("_", 1)[0] == sequence}
    assert ours.keys() == theirs.keys()
    for name, row in ours.items():
        np.testing.assert_allclose(row, theirs[name], rtol=0, atol=1e-6, err_msg=name)


def test_synthetic_sequence() -> None:
    truth = golden_masks.synthetic_truth()
    scores = score_sequence(golden_masks.SYNTHETIC, golden_masks.perturbed(truth), truth)
    assert len(scores) == 5
    assert_official(scores, golden_masks.SYNTHETIC)


@pytest.mark.slow
def test_real_sequences(shared_data: Path, subtests: pytest.Subtests) -> None:
    folders = golden_masks.real_sequences(shared_data)
    assert len(folders) == 17
    for name, folder in folders.items():
        with subtests.test(name):
            truth = golden_masks.read_masks(folder)
            assert_official(score_sequence(name, golden_masks.perturbed(truth), truth), name)
