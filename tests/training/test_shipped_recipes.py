"""The recipes of the shipped weights and of the paper run, stage after stage, on generated data.

Reduced for the test: a step of one tiny clip; in those of the paper (stremn-r50, 5 and 10 frames) two steps
of 64x64 (for 384x384) with one object (for 3) and random weights for ImageNet's; in those of prediction two
tiny steps that predict two frames.
"""

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from counted_videos import write_people
from layouts import LAYOUTS, write_youtube
from small_data import write_davis, write_stills
from stremn import from_pretrained
from stremn.training import PredictionRecipe, SegmentationRecipe, load_recipe, train

RECIPES = Path(str(files("stremn"))) / "recipes"
LITE = sorted((RECIPES / "lite").glob("*.yaml"), key=lambda path: int(path.stem.removeprefix("stage")))
SMALL = ("steps=1", "batch=1", "size=32", "workers=0", "precision='no'", "validate_every=0")
REDUCED = ("batch=1", "objects=1", "steps=2", "workers=0", "precision='no'", "size=64", "validate_size=64")


def write_split(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{name}\n" for name in names))


def test_each_stage_starts_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREMN_DATA", str(tmp_path))
    first = load_recipe(LITE[0])
    assert isinstance(first, SegmentationRecipe)
    write_davis(tmp_path / "DAVIS2016", dict.fromkeys(first.held_out, 3) | {"bear": 14, "other": 3})
    write_split(tmp_path / "DAVIS2016" / "ImageSets" / "2016" / "train.txt", (*first.held_out, "bear"))
    write_davis(tmp_path / "DAVIS2017", {"schoolgirls": 14})
    for stills in ("stills", "coco128"):
        write_stills(tmp_path / stills)
    before = None
    for path in LITE:
        start = () if before is None else (f"start={before}",)
        recipe = load_recipe(path, (*SMALL, *start))
        weights = train(recipe, tmp_path / "runs" / path.stem)
        state = load_file(weights)
        assert all(t.isfinite().all() for t in state.values())
        if before is not None:
            assert not torch.equal(state["key.weight"], load_file(before)["key.weight"])
        before = weights


@pytest.mark.slow
def test_two_steps_of_both_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, runs = tmp_path / "data", tmp_path / "runs"
    for layout in ("COCO", "ECSSD", "SBD", "MSRA10K", "HKU-IS"):
        LAYOUTS[layout](data / layout)
    names = ("train-a", "train-b", *load_recipe(RECIPES / "paper" / "stage1.yaml").held_out)
    write_davis(data / "DAVIS2017", {"other": 14} | {name: 14 if "train" in name else 3 for name in names})
    write_split(data / "DAVIS2017" / "ImageSets" / "2017" / "train.txt", names)
    write_youtube(data / "YouTubeVOS")
    # Its own sequences are shorter than a clip.
    write_davis(tmp_path / "long", {"long": 14})
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "long" / kind / "480p" / "long").rename(data / "YouTubeVOS" / "train" / kind / "long")
    monkeypatch.setenv("STREMN_DATA", str(data))
    torch.manual_seed(0)
    backbone = tmp_path / "resnet50_gn.safetensors"
    save_file(timm.create_model("resnet50_gn", pretrained=False).state_dict(), backbone)

    one = load_recipe(RECIPES / "paper" / "stage1.yaml", (*REDUCED, f"backbone_weights={backbone}"))
    train(one, runs / "paper-stage1")
    backbone.unlink()
    changes = (*REDUCED, f"start={runs / 'paper-stage1' / 'model.safetensors'}")
    train(load_recipe(RECIPES / "paper" / "stage2.yaml", changes), runs / "paper-stage2")

    weights = [load_file(runs / f"paper-stage{i}" / "model.safetensors") for i in (1, 2)]
    assert all(t.isfinite().all() for state in weights for t in state.values())
    moved = {name for name, tensor in weights[0].items() if not torch.equal(tensor, weights[1][name])}
    for part in ("query_encoder.", "memory_encoder.", "memory_key.", "update_key.", "aspp.", "predict."):
        assert any(name.startswith(part) for name in moved), part
    model = from_pretrained(runs / "paper-stage2")
    assert (model.config.architecture, model.config.slots) == ("stm", 6)
    for stage, rate in ((1, 1e-4), (2, pytest.approx((1e-5 + 1e-7) / 2))):
        lines = (runs / f"paper-stage{stage}" / "log.jsonl").read_text().splitlines()
        record, figures = map(json.loads, lines)
        assert (record["step"], record["learning_rate"], figures["step"]) == (2, rate, 2)
        assert 0 <= figures["score"] <= 100


@pytest.mark.parametrize(("name", "folder"), [("kth", "KTH"), ("human36m", "Human36M")])
def test_two_steps_of_prediction_and_the_mean_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.setenv("STREMN_DATA", str(tmp_path))
    path = RECIPES / "paper" / f"{name}.yaml"
    whole = load_recipe(path)
    assert isinstance(whole, PredictionRecipe)
    held, two_ahead = whole.held_out, f"frames={whole.observed + 2}"
    write_people(tmp_path / folder, name, held)
    small = ("steps=2", "batch=1", "size=32", "workers=0", "validate_every=1", "validate_clips=1")
    out = tmp_path / "run"
    train(load_recipe(path, (*small, two_ahead)), out)
    one, two = (load_file(out / "best" / f"step-00000{step}.safetensors") for step in (1, 2))
    mean = load_file(out / "average.safetensors")
    assert any(not torch.equal(one[key], two[key]) for key in mean)
    for key in mean:
        torch.testing.assert_close(mean[key], (one[key] + two[key]) / 2)
    data = json.loads((out / "data.json").read_text())
    for person in held:
        assert sum(person in video["name"] for video in data["held_out"]) == 1
        assert not any(person in video["name"] for video in data["videos"])
    model = from_pretrained(out / "average.safetensors")
    assert (model.config.architecture, model.config.slots) == ("predict", 5)
    assert model.config.channels == whole.channels
