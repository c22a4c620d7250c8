"""The paper's recipes run: stremn-r50, 384x384, 5 and 10 frames, on generated data of the right layouts.

Reduced for the test: batch 1 (for 4), one object (for 3), two steps, random weights for ImageNet's; bfloat16
where the processor computes it fast (elsewhere it is emulated, and a step takes minutes).
"""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from data.layouts import LAYOUTS, write_youtube
from small_data import write_davis
from stremn import from_pretrained
from stremn.runtime.device import Runtime
from stremn.training import load_recipe, train

RECIPES = Path(str(files("stremn"))) / "recipes" / "paper"
PRECISION = "bf16" if Runtime.choose("cpu", "auto").dtype == torch.bfloat16 else "'no'"
REDUCED = ("batch=1", "objects=1", "steps=2", "workers=0", f"precision={PRECISION}", "save_every=1000")


@pytest.mark.slow
def test_two_steps_of_both_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    for layout in ("COCO", "ECSSD", "SBD", "MSRA10K", "HKU-IS"):
        LAYOUTS[layout](data / layout)
    write_davis(data / "DAVIS2017", {"train-a": 12, "train-b": 12, "other": 12})
    split = data / "DAVIS2017" / "ImageSets" / "2017" / "train.txt"
    split.parent.mkdir(parents=True)
    split.write_text("train-a\ntrain-b\n")
    write_youtube(data / "YouTubeVOS")
    # Its own sequences are shorter than a clip.
    write_davis(tmp_path / "long", {"long": 12})
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "long" / kind / "480p" / "long").rename(data / "YouTubeVOS" / "train" / kind / "long")
    monkeypatch.setenv("STREMN_DATA", str(data))
    torch.manual_seed(0)
    backbone = tmp_path / "resnet50_gn.safetensors"
    save_file(timm.create_model("resnet50_gn", pretrained=False).state_dict(), backbone)

    one = load_recipe(RECIPES / "stage1.yaml", (*REDUCED, f"backbone_weights={backbone}"))
    train(one, runs / "paper-stage1")
    backbone.unlink()
    changes = (*REDUCED, f"start={runs / 'paper-stage1' / 'model.safetensors'}")
    train(load_recipe(RECIPES / "stage2.yaml", changes), runs / "paper-stage2")

    weights = [load_file(runs / f"paper-stage{i}" / "model.safetensors") for i in (1, 2)]
    assert all(t.isfinite().all() for state in weights for t in state.values())
    moved = {name for name, tensor in weights[0].items() if not torch.equal(tensor, weights[1][name])}
    for part in ("query_encoder.", "memory_encoder.", "memory_key.", "update_key.", "aspp.", "predict."):
        assert any(name.startswith(part) for name in moved), part
    model = from_pretrained(runs / "paper-stage2")
    assert (model.config.architecture, model.config.slots) == ("stm", 6)
    for stage, rate in ((1, 1e-4), (2, pytest.approx((1e-5 + 1e-7) / 2))):
        (record,) = map(json.loads, (runs / f"paper-stage{stage}" / "log.jsonl").read_text().splitlines())
        assert (record["step"], record["learning_rate"]) == (2, rate)
