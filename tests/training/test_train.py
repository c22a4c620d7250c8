"""The engine on generated data: a few real steps, and what they leave."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from toy_task import ToyRecipe, ToyTask, toy

from small_data import write_davis, write_stills
from stremn import from_pretrained
from stremn.data import ClipRequest, CrossingClips, SyntheticClips, VideoClips
from stremn.errors import StremnError
from stremn.training import (
    TASKS,
    Recipe,
    SegmentationRecipe,
    SegmentationTask,
    StepDraw,
    StepReport,
    load_recipe,
    train,
)
from stremn.training.processes import open_accelerator

FROZEN = 3


@pytest.fixture(scope="module")
def trained(recipe: SegmentationRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(replace(recipe, validate_every=2), tmp_path_factory.mktemp("run") / "new")


def test_what_a_run_leaves(recipe: SegmentationRecipe, trained: Path) -> None:
    out = trained.parent
    assert {p.name for p in out.iterdir()} == {
        *("model.safetensors", "best.safetensors", "checkpoints", "pictures", "tensorboard"),
        *("recipe.yaml", "run.json", "data.json", "log.jsonl"),
    }
    for path in (trained, out / "best.safetensors", out / "checkpoints" / "step-000003"):
        model = from_pretrained(path)
        assert model.config == from_pretrained(recipe.start).config
        assert all(t.isfinite().all() for t in model.state_dict().values())
    # Complete: reading the recipe back gives the run again.
    assert load_recipe(out / "recipe.yaml") == replace(recipe, validate_every=2)


def test_the_record_of_a_run(recipe: SegmentationRecipe, trained: Path) -> None:
    run = json.loads((trained.parent / "run.json").read_text())
    assert run["seed"] == recipe.seed
    assert run["versions"]["torch"] == torch.__version__
    assert (run["processes"], run["device"], run["from_step"], run["before"]) == (1, "cpu", 0, [])
    assert run["commit"] is None or len(run["commit"].removesuffix("-dirty")) == 40
    data = json.loads((trained.parent / "data.json").read_text())
    assert data == {
        "stills": [{"entry": recipe.stills[0], "layout": "images + masks", "images": 3}],
        "videos": [{"entry": recipe.videos[0], "masks": 12, "sequences": ["one", "two"]}],
        "held_out": ["apart"],
    }


def test_log_and_pictures(trained: Path) -> None:
    records = [json.loads(line) for line in (trained.parent / "log.jsonl").read_text().splitlines()]
    training, validation = ([r for r in records if ("loss" in r) == which] for which in (True, False))
    assert [r["step"] for r in training] == [3]
    assert set(training[0]) == {"step", "loss", "seconds", "images_per_second", "learning_rate"}
    assert 0 < training[0]["loss"] < 50
    assert [r["step"] for r in validation] == [2, 3]
    assert all(r["score"] == pytest.approx((r["J"] + r["F"]) / 2) for r in validation)
    pictures = sorted(trained.parent.joinpath("pictures").iterdir())
    assert [p.name for p in pictures] == ["step-000002.png", "step-000003.png"]
    assert np.array(Image.open(pictures[0])).std() > 10


def test_tensorboard_reads_it(trained: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = events.EventAccumulator(str(trained.parent / "tensorboard"))
    reader.Reload()
    assert {"train/loss", "validation/score"} <= set(reader.Tags()["scalars"])
    assert [e.step for e in reader.Scalars("validation/score")] == [2, 3]
    assert [e.step for e in reader.Images("validation")] == [2, 3]


def test_frozen_blocks_keep_their_weights_and_the_rest_does_not(
    recipe: SegmentationRecipe, trained: Path
) -> None:
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


def test_validation_changes_nothing(recipe: SegmentationRecipe, trained: Path, tmp_path: Path) -> None:
    """And a run is repeatable."""
    again = from_pretrained(train(recipe, tmp_path)).state_dict()
    for name, tensor in from_pretrained(trained).state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_the_average_follows_the_weights(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    """A young average must not stay at the start: after one step it is the trained weights themselves."""
    short = replace(recipe, steps=1, ema=0.999)
    plain = replace(recipe, steps=1, ema=0.0)
    a, b = (from_pretrained(train(r, tmp_path / str(r.ema))).state_dict() for r in (short, plain))
    start = from_pretrained(recipe.start).state_dict()
    name = "decoder.predict.weight"
    assert torch.allclose(a[name], b[name])
    assert not torch.allclose(a[name], start[name])


class BreakingTask(ToyTask):
    """Its loss is no number, or has no slope, from the second step on."""

    def loss(self, model: nn.Module, batch: dict[str, torch.Tensor], draw: StepDraw) -> torch.Tensor:
        loss = super().loss(model, batch, draw)
        if draw.step < self.recipe.breaks_at:
            return loss
        # The root has an infinite slope at zero.
        return (
            loss * float("nan") if self.recipe.bad == "loss" else loss + (loss - loss.detach()).abs().sqrt()
        )


@dataclass(frozen=True)
class BreakingRecipe(ToyRecipe):
    task: str = "breaking"
    bad: str = "loss"
    breaks_at: int = 1


BreakingTask.recipe_class = BreakingRecipe


def breaking(**changes: Any) -> BreakingRecipe:
    TASKS["breaking"] = BreakingTask
    return BreakingRecipe(**({**asdict(toy()), "task": "breaking"} | changes))


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_the_run(bad: str, tmp_path: Path) -> None:
    recipe = breaking(bad=bad, save_every=1)
    with pytest.raises(
        StremnError,
        match=rf"the {bad} is (nan|inf) at step 2; the batch is in .*bad-batch\.safetensors; look",
    ):
        train(recipe, tmp_path)
    # What was saved before is whole.
    saved = load_file(tmp_path / "checkpoints" / "step-000001" / "model.safetensors")
    assert all(t.isfinite().all() for t in saved.values())
    with safe_open(tmp_path / "bad-batch.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["stremn_batch"])
        assert facts == {"step": 2, "part": 0, "process": 0, "seed": recipe.seed}
        second = [ToyTask(recipe, torch.device("cpu")).clips[ClipRequest(n, 2, 32)] for n in (2, 3)]
        assert torch.equal(file.get_tensor("frames"), torch.stack([clip["frames"] for clip in second]))


def test_half_precision_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StremnError, match="'precision' fp16 needs a GPU, which is not there; set bf16 or no"):
        train(toy(precision="fp16"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_gradients_that_overflow_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their steps are left out and the loss is scaled less, down to 1; the scale is part of a checkpoint."""

    def scaled(recipe: Recipe) -> Any:
        accelerator = open_accelerator(recipe)
        scaler = accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        # What accelerate does in half precision, which it does not have on a CPU.
        accelerator.unscale_gradients = lambda: scaler.unscale_(accelerator._optimizers[0].optimizer)
        return accelerator

    monkeypatch.setattr("stremn.training.engine.open_accelerator", scaled)
    recipe = breaking(bad="gradient", breaks_at=1, save_every=1, keep=9)
    for resume in (False, True):
        with pytest.raises(StremnError, match=r"the gradient is (nan|inf) at step 4"):
            train(recipe, tmp_path, resume)
    one, two, three = (tmp_path / "checkpoints" / f"step-00000{step}" for step in (1, 2, 3))
    states = [json.loads((folder / "state.json").read_text()) for folder in (one, two, three)]
    assert [state["scaler"]["scale"] for state in states] == [4, 2, 1]
    first, last = (load_file(folder / "raw.safetensors") for folder in (one, three))
    assert all(torch.equal(tensor, last[name]) for name, tensor in first.items())


def test_what_is_refused_before_its_first_step_leaves_no_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(StremnError, match="at step 1"):
        train(breaking(breaks_at=0), out)
    assert [path.name for path in out.iterdir()] == ["bad-batch.safetensors"]
    assert train(toy(), out).exists()


def test_a_run_without_a_checkpoint_begins_again_with_any_recipe(tmp_path: Path) -> None:
    """Nothing is lost: the data was mended after an error in the middle."""
    with pytest.raises(StremnError, match="at step 2"):
        train(breaking(save_every=100), tmp_path)
    with pytest.raises(StremnError, match="holds a run: resume it, or give another folder"):
        train(breaking(breaks_at=100), tmp_path)
    assert train(breaking(breaks_at=100), tmp_path, resume=True).exists()


@pytest.mark.parametrize("inside", ["", "run", "deep/er/run"])
def test_an_output_in_a_file_is_refused(inside: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StremnError, match=r"output .*/file is a file: give a folder"):
        train(toy(), tmp_path / "file" / inside)
    assert (tmp_path / "file").read_text() == "precious"


def test_accumulated_parts_equal_one_batch(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    """Adam's first moment after one step is a tenth of the gradient."""
    # As many slots as frames: no contest, whose noise is drawn for a batch as a whole.
    one_step = replace(recipe, steps=1, clip_norm=0.0, chosen=2)
    parts, whole = (
        moments(train(replace(one_step, batch=(batch,), accumulate=parts), tmp_path / str(parts)))
        for batch, parts in ((1, 4), (4, 1))
    )
    assert parts.keys() == whole.keys()
    for name, moment in whole.items():
        assert torch.allclose(parts[name], moment, rtol=1e-3, atol=1e-5 * float(moment.abs().max()) + 1e-9)


def test_held_out_sequences_never_appear(recipe: SegmentationRecipe) -> None:
    def trained_on(recipe: SegmentationRecipe) -> set[str]:
        videos = [p for p in open_task(recipe).clips.parts if isinstance(p, VideoClips)]
        return {s.name for v in videos for s in v.sequences}

    assert trained_on(recipe) == {"one", "two"}
    assert trained_on(replace(recipe, held_out=())) == {"one", "two", "apart"}


def test_look_alikes_take_their_share_of_the_clips_from_stills(recipe: SegmentationRecipe) -> None:
    clips = open_task(replace(recipe, video_share=0.5, crossing_share=0.4)).clips
    assert [type(part) for part in clips.parts] == [VideoClips, SyntheticClips, CrossingClips]
    assert clips.cumulative.tolist() == pytest.approx([0.5, 0.8, 1.0])


def test_data_that_is_not_there(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"'held_out' names \['other'\]"):
        open_task(replace(recipe, held_out=("other",)))
    with pytest.raises(StremnError, match="nothing to train on"):
        open_task(replace(recipe, held_out=("one", "two", "apart"), stills=()))
    with pytest.raises(StremnError, match="nothing to train on"):
        open_task(replace(recipe, stills=(), video_share=0.0))
    with pytest.raises(StremnError, match=r"'held_out' names \['other'\]"):
        open_task(replace(recipe, videos=(), held_out=("other",), validate_every=1))
    few = write_davis(tmp_path / "few", {"one": 4, "short": 2})
    with pytest.raises(StremnError, match="sequence 'short': 2 of 2 frames are annotated, and 3 or more"):
        open_task(replace(recipe, videos=(str(few),), held_out=("short",), validate_every=1))
    with pytest.raises(StremnError, match=r"'model' is stremn-r50, and 'start', .* of architecture 'lite'"):
        open_task(replace(recipe, model="stremn-r50")).new_model()
    out = tmp_path / "out"
    with pytest.raises(StremnError, match="no layout of stills that is known"):
        train(replace(recipe, stills=(str(tmp_path),)), out)
    assert not out.exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_on_one_line(
    workers: int, recipe: SegmentationRecipe, tmp_path: Path
) -> None:
    stills = write_stills(tmp_path / "stills", 1)
    picture = stills / "images" / "still0.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(b"no picture")
    broken = replace(recipe, stills=(str(stills),), videos=(), held_out=(), video_share=0.0, workers=workers)
    with pytest.raises(StremnError, match=r"still0\.jpg") as error:
        train(broken, tmp_path / "out")
    assert "\n" not in str(error.value)
    # The mended recipe runs there.
    assert not (tmp_path / "out").exists()
    picture.write_bytes(whole)
    assert train(replace(broken, steps=1), tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    def kill_workers(_: StepReport) -> None:
        this = psutil.Process()
        for child in this.children():
            # Forked, unlike other helpers of the test run.
            if child.cmdline() == this.cmdline():
                child.kill()

    with pytest.raises(StremnError, match=r"a process that makes clips ended .*set fewer 'workers'"):
        train(toy(workers=1, steps=500), tmp_path / "out", watch=kill_workers)


def open_task(recipe: SegmentationRecipe) -> SegmentationTask:
    return SegmentationTask(recipe, torch.device("cpu"))


def moments(weights: Path) -> dict[str, torch.Tensor]:
    (checkpoint,) = (weights.parent / "checkpoints").iterdir()
    tensors = load_file(checkpoint / "optimizer.safetensors")
    return {name: tensor for name, tensor in tensors.items() if name.endswith(".exp_avg")}
