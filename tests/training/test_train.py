"""The engine on generated data: a few real steps, and what they leave."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from small_data import write_davis, write_stills
from stremn import create_model, from_pretrained, save_pretrained
from stremn.commands import main
from stremn.data import ClipMixture, VideoClips
from stremn.errors import StremnError
from stremn.training import Recipe, train
from stremn.training import engine as engine_module
from stremn.training.engine import build_clips

FROZEN = 3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Three steps of two tiny clips from random weights."""
    root = tmp_path_factory.mktemp("training")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    start = save_pretrained(create_model("stremn-lite"), root / "start.safetensors")
    return Recipe(
        start=str(start),
        stills=(str(write_stills(root / "stills")),),
        videos=(str(write_davis(root / "davis", {"one": 6, "two": 6, "apart": 6})),),
        held_out=("apart",),
        frames=4,
        size=32,
        objects=2,
        chosen=1,
        batch=2,
        steps=3,
        warmup=1,
        learning_rate=1e-3,
        backbone_rate=1e-3,
        frozen_blocks=FROZEN,
        workers=0,
        precision="no",
    )


@pytest.fixture(scope="module")
def trained(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("run") / "new")


def test_what_a_run_leaves(recipe: Recipe, trained: Path) -> None:
    assert {p.name for p in trained.parent.iterdir()} == {"model.safetensors", "recipe.json", "log.jsonl"}
    model = from_pretrained(trained)
    assert model.config == from_pretrained(recipe.start).config
    assert all(t.isfinite().all() for t in model.state_dict().values())
    saved = json.loads((trained.parent / "recipe.json").read_text())
    assert saved == json.loads(json.dumps(recipe.to_dict()))
    (record,) = [json.loads(line) for line in (trained.parent / "log.jsonl").read_text().splitlines()]
    assert set(record) == {"step", "loss", "seconds"}
    assert record["step"] == 3
    assert 0 < record["loss"] < 50


def test_frozen_blocks_keep_their_weights_and_the_rest_does_not(recipe: Recipe, trained: Path) -> None:
    before, after = from_pretrained(recipe.start).state_dict(), from_pretrained(trained).state_dict()
    parameters = {name for name, _ in from_pretrained(recipe.start).named_parameters()}
    frozen = ("backbone.conv_stem", "backbone.bn1", *(f"backbone.blocks.{i}." for i in range(FROZEN)))
    groups: dict[str, set[bool]] = {"frozen": set(), "norm": set(), "backbone": set(), "rest": set()}
    for name in before:
        same = torch.equal(before[name], after[name])
        if name.startswith(frozen):
            groups["frozen"].add(same)
        elif name.startswith("backbone.") and ".bn" in name:
            groups["norm"].add(same)
        elif name in parameters:
            groups["backbone" if name.startswith("backbone.") else "rest"].add(same)
    assert groups == {"frozen": {True}, "norm": {True}, "backbone": {False}, "rest": {False}}


def test_a_run_is_repeatable(recipe: Recipe, trained: Path, tmp_path: Path) -> None:
    again = from_pretrained(train(recipe, tmp_path)).state_dict()
    for name, tensor in from_pretrained(trained).state_dict().items():
        assert torch.allclose(tensor, again[name], atol=1e-6), name


def test_a_second_run_in_a_folder_starts_its_own_log(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("an earlier run\n")
    train(replace(recipe, steps=1), tmp_path)
    assert json.loads((tmp_path / "log.jsonl").read_text())["step"] == 1


def test_the_average_follows_the_weights(recipe: Recipe, tmp_path: Path) -> None:
    """A young average must not stay at the start: after one step it is the trained weights themselves."""
    short = replace(recipe, steps=1, ema=0.999)
    plain = replace(recipe, steps=1, ema=0.0)
    a, b = (from_pretrained(train(r, tmp_path / str(r.ema))).state_dict() for r in (short, plain))
    start = from_pretrained(recipe.start).state_dict()
    name = "decoder.predict.weight"
    assert torch.allclose(a[name], b[name])
    assert not torch.allclose(a[name], start[name])


def test_a_loss_that_is_no_number_stops_the_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = engine_module.segmentation_loss, []

    def breaks_at_second_step(*args: object, **kwargs: object) -> torch.Tensor:
        calls.append(1)
        return real(*args, **kwargs) * (1.0 if len(calls) < 2 else float("nan"))  # type: ignore[arg-type]

    monkeypatch.setattr(engine_module, "segmentation_loss", breaks_at_second_step)
    with pytest.raises(
        StremnError, match="training stopped: the loss is nan at step 2; lower 'learning_rate'"
    ):
        train(replace(recipe, save_every=1), tmp_path)
    # What was saved before is whole.
    assert all(t.isfinite().all() for t in from_pretrained(tmp_path).state_dict().values())


def test_held_out_sequences_never_appear(recipe: Recipe) -> None:
    mixture = build_clips(recipe)
    assert isinstance(mixture, ClipMixture)
    videos = [part for part in mixture.parts if isinstance(part, VideoClips)]
    assert [s.name for v in videos for s in v.sequences] == ["one", "two"]
    everything = build_clips(replace(recipe, held_out=()))
    assert isinstance(everything, ClipMixture)
    (part,) = [p for p in everything.parts if isinstance(p, VideoClips)]
    assert {s.name for s in part.sequences} == {"one", "two", "apart"}


def test_data_that_is_not_there(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"'held_out' names \['other'\]"):
        build_clips(replace(recipe, held_out=("other",)))
    with pytest.raises(StremnError, match="nothing to train on"):
        build_clips(replace(recipe, held_out=("one", "two", "apart"), stills=()))
    with pytest.raises(StremnError, match="nothing to train on"):
        build_clips(replace(recipe, stills=(), video_share=0.0))
    out = tmp_path / "out"
    with pytest.raises(StremnError, match="no image in 'images'"):
        train(replace(recipe, stills=(str(tmp_path),)), out)
    assert not out.exists()


def test_the_command(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREMN_TEST_ROOT", str(Path(recipe.stills[0]).parent))
    path, out = tmp_path / "recipe.yaml", tmp_path / "out"
    path.write_text(
        "start: ${STREMN_TEST_ROOT}/start.safetensors\nstills: ['${STREMN_TEST_ROOT}/stills']\n"
        "video_share: 0\nframes: 2\nsize: 32\nbatch: 1\nworkers: 0\nprecision: 'no'\n"
    )
    assert main(["train", str(path), "--out", str(out), "--set", "steps=1"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out / 'model.safetensors'}\n"
    assert "step 1/1  loss " in shown.err
    assert main(["train", str(path), "--out", str(out), "--set", "steps=0"]) == 2
    assert capsys.readouterr().err == "stremn: recipe: 'steps' must be at least 1, not 0\n"
    assert logging.getLogger("stremn").handlers == []
