"""The recipes of the shipped weights start, one after the other, on generated data of the right layout."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from small_data import write_davis, write_stills
from stremn.training import SegmentationRecipe, load_recipe, train

RECIPES = sorted(
    (Path(str(files("stremn"))) / "recipes" / "lite").iterdir(),
    key=lambda path: int(path.stem.removeprefix("stage")),
)
SMALL = ("steps=1", "batch=1", "size=32", "workers=0", "precision='no'", "validate_every=0")


def test_each_stage_starts_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("STREMN_DATA", str(tmp_path))
    first = load_recipe(RECIPES[0])
    assert isinstance(first, SegmentationRecipe)
    write_davis(tmp_path / "DAVIS2016", dict.fromkeys(first.held_out, 3) | {"bear": 12, "other": 3})
    split = tmp_path / "DAVIS2016" / "ImageSets" / "2016" / "train.txt"
    split.parent.mkdir(parents=True)
    split.write_text("".join(f"{name}\n" for name in (*first.held_out, "bear")))
    write_davis(tmp_path / "DAVIS2017", {"schoolgirls": 12})
    for stills in ("stills", "coco128"):
        write_stills(tmp_path / stills)
    before = None
    for path in RECIPES:
        start = () if before is None else (f"start={before}",)
        recipe = load_recipe(path, (*SMALL, *start))
        weights = train(recipe, tmp_path / "runs" / path.stem)
        state = load_file(weights)
        assert all(t.isfinite().all() for t in state.values())
        if before is not None:
            assert not torch.equal(state["key.weight"], load_file(before)["key.weight"])
        before = weights
