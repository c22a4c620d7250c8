"""What the paper leaves open or varies, as fields of the model's config in a recipe; training obeys it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from small_models import fill_added
from stremn import SegmentationSession, create_model, from_pretrained, save_pretrained
from stremn.commands import app
from stremn.data import Clip, ClipRequest
from stremn.errors import StremnError
from stremn.memory import MemoryLayout, Rules, get_policy
from stremn.models import Segmenter
from stremn.training import SegmentationRecipe, SegmentationTask, StepDraw, train
from stremn.training.segmentation.losses import segmentation_loss
from stremn.training.segmentation.segment_clip import segment_clip

CPU = torch.device("cpu")
NARROW = {"key_dim": 8, "value_dim": 16, "update_dim": 8}


def draw() -> StepDraw:
    return StepDraw(0, torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def batch_of(task: SegmentationTask, frames: int = 7) -> Clip:
    return cast(Clip, task.collate([task.clips[ClipRequest(number, frames, 32)] for number in range(2)]))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of the paper's encoder, of our making."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("imagenet") / "resnet50_gn.safetensors"
    save_file(timm.create_model("resnet50_gn").state_dict(), path)
    return path


@pytest.fixture
def paper(recipe: SegmentationRecipe, resnet: Path) -> SegmentationRecipe:
    """A new narrow ``stremn-r50``."""
    model = {"start": "", "model": "stremn-r50", "backbone_weights": str(resnet), "config": NARROW}
    other = {"chosen": 0, "candidate_every": 0, "frozen_blocks": 0, "video_share": 0.0}
    return replace(recipe, **cast(Any, model | other))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("stremn-lite", {"slots": 3, "policy": "newest", "candidate_every": 2}),
        ("stremn-lite", {"slots": 4, "tau": 0.3, "candidate_every": 1}),
        ("stremn-r50", {"slots": 4, "fusion": "least-similar"}),
    ],
    ids=str,
)
def test_a_loss_is_computed_by_the_rules_of_the_config(
    name: str, changes: dict[str, Any], recipe: SegmentationRecipe, paper: SegmentationRecipe
) -> None:
    """It is that of a memory whose rules are written out here, gradients of the choice included."""
    base = paper if name == "stremn-r50" else replace(recipe, chosen=0, candidate_every=0, video_share=0.0)
    task = SegmentationTask(replace(base, config=base.config | changes), CPU)
    torch.manual_seed(0)
    model, batch = fill_added(task.new_model(), std=0.1).train(), batch_of(task)
    assert {field: getattr(model.config, field) for field in changes} == changes

    def gradients(loss: torch.Tensor) -> list[torch.Tensor]:
        model.zero_grad()
        loss.backward()
        layers = ("update_key.weight", "value.weight" if name == "stremn-lite" else "memory_value.weight")
        parameters = [model.get_parameter(layer) for layer in layers]
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]

    def by_hand(**other: Any) -> float:
        """The largest difference between two gradients, as a share."""
        rules: dict[str, Any] = {"slots": 6, "policy": "learned"} | changes | other
        layout, policy = MemoryLayout.of_slots(rules.pop("slots")), get_policy(rules.pop("policy"))
        drawn = draw()
        guide = bool(torch.rand((), generator=drawn.shared) < base.guide_share)
        rules["generator"] = drawn.own
        logits = segment_clip(model, batch, Rules(layout, policy, noise=True, **rules), guide=guide)
        others = gradients(segmentation_loss(logits, batch.labels[:, 1:], batch.valid))
        pairs = zip(found, others, strict=True)
        return max(float((one - two).norm() / one.norm().clamp_min(1e-12)) for one, two in pairs)

    found = gradients(task.loss(model, batch, draw()))
    assert by_hand() < 1e-4
    others = {"slots": 6, "policy": "first-and-last", "candidate_every": 4, "tau": 1.0, "fusion": "none"}
    for field in changes:
        assert by_hand(**{field: others[field]}) > 1e-3, field


def test_a_rule_is_trained_by_the_command_and_stays_with_the_weights(
    recipe: SegmentationRecipe, tmp_path: Path
) -> None:
    path, out = tmp_path / "recipe.yaml", tmp_path / "oldest"
    one = replace(recipe, chosen=0, steps=1, validate_every=1)
    path.write_text(yaml.safe_dump(one.to_dict()))
    config = "config={policy: oldest, slots: 3, candidate_every: 2, tau: 0.5, scale: 1}"
    done = CliRunner().invoke(app, ["train", str(path), "--out", str(out), "--set", config])
    assert done.exit_code == 0, done.output
    found = from_pretrained(out).config
    assert (found.policy, found.slots, found.candidate_every, found.tau) == ("oldest", 3, 2, 0.5)
    assert found.scale == 1
    settings = SegmentationSession(out).settings
    assert (settings.policy, settings.slots, settings.candidate_every) == ("oldest", 3, 2)
    # And goes on from there with another.
    again = replace(one, start=str(out), config={"slots": 4})
    assert from_pretrained(train(again, tmp_path / "again")).config == replace(found, slots=4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"slotz": 3}, "its config has no slotz; it has key_dim, "),
        ({"architecture": "stm"}, "its config has no architecture"),
        ({"slots": 1}, "slots must be a whole number at least 2, not 1"),
        ({"slots": True}, "slots must be a whole number at least 2, not True"),
        ({"policy": "best"}, "unknown policy 'best'"),
        ({"policy": [1]}, r"unknown policy '\(1,\)'"),
        ({"scale": "small"}, "scale must be a number or nothing, not 'small'"),
        ({"skip": 1}, "skip must be true or false, not 1"),
        ({"mean": 3}, "mean must be three numbers, not 3"),
        ({"certainty": "x"}, "certainty must be from 0 to 1"),
        ({"fusion": "least-similar"}, "has one layer of update keys and no fusion"),
    ],
    ids=str,
)
@pytest.mark.parametrize("start", [True, False], ids=["start", "new"])
def test_a_config_that_cannot_be_leaves_nothing(
    config: dict[str, Any], message: str, start: bool, recipe: SegmentationRecipe, tmp_path: Path
) -> None:
    changed = replace(recipe, config=config, start=recipe.start if start else "")
    with pytest.raises(StremnError, match=message) as error:
        train(changed, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_a_change_are_refused(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    for config in ({"skip": False}, {"update_dim": 8, "slots": 3}):
        with pytest.raises(StremnError, match=f"its weights do not fit {', '.join(sorted(config))}"):
            train(replace(recipe, config=config), tmp_path / "out")
    with pytest.raises(StremnError, match=r"'chosen' must be at most 1, .*not 2; set more 'slots'"):
        train(replace(recipe, config={"slots": 3}, chosen=2), tmp_path / "out")


@pytest.mark.parametrize("fusion", ["least-similar", "none"])
def test_fusion_needs_weights_that_have_it(fusion: str, paper: SegmentationRecipe, tmp_path: Path) -> None:
    config: dict[str, Any] = NARROW | ({"fusion": "all-others"} if fusion != "none" else {})
    start = save_pretrained(create_model("stremn-r50", **config), tmp_path / "start.safetensors")
    changed = replace(paper, start=str(start), backbone_weights="", config={"fusion": "most-similar"})
    if fusion == "none":
        with pytest.raises(StremnError, match="its weights do not fit fusion"):
            SegmentationTask(changed, CPU).new_model()
    else:
        assert SegmentationTask(changed, CPU).new_model().config.fusion == "most-similar"


@pytest.mark.parametrize("start", [False, True], ids=["new", "start"])
def test_imagenet_weights_of_a_model_with_skips(
    start: bool, paper: SegmentationRecipe, resnet: Path, tmp_path: Path
) -> None:
    """Of a new one, and of one made in Python and given as start, whose other weights stay."""
    own = create_model("stremn-r50", skip=True, **NARROW)
    path = save_pretrained(own, tmp_path / "start.safetensors")
    changes = {"start": str(path), "config": {}} if start else {"config": NARROW | {"skip": True}}
    model = SegmentationTask(replace(paper, **cast(Any, changes)), CPU).new_model()
    assert model.config == own.config
    given, found = load_file(resnet), model.state_dict()
    for encoder in ("query_encoder", "memory_encoder"):
        for name in ("layer1.0.conv1.weight", "layer3.5.conv3.weight"):
            assert torch.equal(found[f"{encoder}.{name}"], given[name])
        assert torch.equal(found[f"{encoder}.conv1.weight"][:, :3], given["conv1.weight"])
    skips = [name for name in found if ".skip." in name]
    assert skips
    assert all(torch.equal(found[name], own.state_dict()[name]) for name in skips) == start


@pytest.mark.parametrize("name", ["stremn-lite", "stremn-r50"])
def test_activation_checkpointing_changes_no_gradient(
    name: str, recipe: SegmentationRecipe, paper: SegmentationRecipe
) -> None:
    """Noise of the choice and of damaged masks is not drawn again, and less is kept for later."""
    base = paper if name == "stremn-r50" else replace(recipe, config={"slots": 4})
    base = replace(base, config=base.config | {"slots": 4}, damage_share=0.5, chosen=0, video_share=0.0)
    seen = []
    for checkpointing in (False, True):
        task = SegmentationTask(replace(base, activation_checkpointing=checkpointing), CPU)
        torch.manual_seed(0)
        model: Segmenter = task.new_model().train()
        task.parameter_groups(model)
        task.prepare(model)
        kept = {}

        def keep(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = task.loss(model, batch_of(task), draw())
        loss.backward()
        weights = {parameter.data_ptr() for parameter in model.parameters()}
        size = sum(size for address, size in kept.items() if address not in weights)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        seen.append((loss.detach(), gradients, size))
    (loss, gradients, size), (again, others, less) = seen
    assert torch.equal(loss, again)
    assert gradients.keys() == others.keys()
    assert {"update_key.weight"} <= gradients.keys()
    for parameter, gradient in gradients.items():
        other = others[parameter]
        assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-6 * float(gradient.abs().max())), parameter
    assert less < size / 2


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_with_activation_checkpointing(
    precision: str, recipe: SegmentationRecipe, tmp_path: Path
) -> None:
    short = replace(recipe, steps=2, precision=precision)
    plain, less = (
        load_file(train(replace(short, activation_checkpointing=on), tmp_path / str(on)))
        for on in (False, True)
    )
    for name, tensor in plain.items():
        assert torch.allclose(tensor, less[name], atol=1e-5 if precision == "no" else 5e-3), name
