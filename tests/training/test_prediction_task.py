"""The task of prediction: recipe, data, loss, validation, and a run of the engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stremn
from counted_videos import HELD_FRAMES, number_of, write_people
from small_data import write_video
from stremn.data import ClipRequest
from stremn.errors import StremnError
from stremn.models import Predictor, from_pretrained
from stremn.training import TASKS, PredictionRecipe, PredictionTask, StepDraw, load_recipe, train

CPU = torch.device("cpu")


def recipe(digits: Path, /, **changes: Any) -> PredictionRecipe:
    values: dict[str, Any] = {
        "digits": str(digits),
        "train_digits": (0, 30),
        "held_digits": (30, 40),
        "frames": (5,),
        "observed": 3,
        "size": (32,),
        "batch": (2,),
        "steps": 2,
        "warmup": 0,
        "workers": 0,
        "precision": "no",
        "validate_clips": 3,
        "deterministic": False,
    }
    return PredictionRecipe(**(values | changes))


def draw(step: int = 0) -> StepDraw:
    return StepDraw(step, torch.Generator().manual_seed(1), torch.Generator().manual_seed(2))


def batch_of(task: PredictionTask) -> Any:
    return task.collate([task.clips[ClipRequest(number, 5, 32)] for number in range(2)])


def test_the_task_is_known_by_its_name(digits: Path, tmp_path: Path) -> None:
    assert TASKS["prediction"] is PredictionTask
    path = tmp_path / "r.yaml"
    path.write_text(f"task: prediction\ndigits: {digits}\nmodel: convlstm-small\n")
    loaded = load_recipe(path, ("observed=4",))
    assert isinstance(loaded, PredictionRecipe)
    assert (loaded.model, loaded.observed, loaded.optimizer, loaded.learning_rate) == (
        "convlstm-small",
        4,
        "adam",
        1e-3,
    )


def test_the_recipe_that_ships_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(stremn.__file__).parent / "recipes" / "predict"
    assert [load_recipe(path).task for path in folder.glob("*.yaml")] == ["prediction"] * 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digits": ""}, "'digits' or 'videos'"),
        ({"videos": ("a",)}, "'digits' or 'videos'"),
        ({"observed": 5}, "more than the 5 'observed'"),
        ({"observed": 0}, "'observed'"),
        ({"held_digits": (20, 40)}, "overlap"),
        ({"train_digits": (3,)}, "'train_digits'"),
        ({"mse_weight": -1.0}, "'mse_weight'"),
        ({"gap": 5}, "'gap' is of 'videos'"),
        ({"held_out": ("a",)}, "'held_out' is of 'videos'"),
    ],
)
def test_bad_recipes_are_refused_by_key(digits: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StremnError, match=words) as caught:
        recipe(digits, **changes)
    assert "\n" not in str(caught.value)


def test_models_and_data_that_do_not_fit_are_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="grey"):
        PredictionTask(recipe(digits, channels=3), CPU)
    with pytest.raises(StremnError, match="LiteSegmenter where a Predictor"):
        PredictionTask(recipe(digits, model="stremn-lite"), CPU)
    refused = {
        "model 'convlstm-small': its config has no slots; it has channels,": {
            "model": "convlstm-small",
            "config": {"slots": 3},
        },
        "unknown policy 'best'": {"config": {"policy": "best"}},
        "its weights do not fit channels": {"start": "stremn-predict-mnist", "channels": 3},
    }
    for message, changes in refused.items():
        with pytest.raises(StremnError, match=message):
            PredictionTask(recipe(digits, **changes), CPU)
    write_video(tmp_path / "a.mp4", 6)
    videos = {"digits": "", "videos": (str(tmp_path),), "channels": 1}
    with pytest.raises(StremnError, match=r"'held_out' names \['b'\]"):
        PredictionTask(recipe(digits, **videos, held_out=("b",)), CPU)
    with pytest.raises(StremnError, match="no video"):
        PredictionTask(recipe(digits, **videos, held_out=("a",)), CPU)
    with pytest.raises(StremnError, match="'validate_every' needs"):
        recipe(digits, **videos, validate_every=1)


def test_the_weights_of_the_loss_are_weights(digits: Path) -> None:
    none = {"l1_weight": 0.0, "l2_weight": 0.0, "gradient_weight": 0.0}
    base = recipe(digits, **none, mse_weight=1.0)

    def loss(**changes: Any) -> float:
        torch.manual_seed(0)
        task = PredictionTask(replace(base, **changes), CPU)
        return float(task.loss(task.new_model(), batch_of(task), draw()).detach())

    plain = loss()
    assert loss(mse_weight=3.0) == pytest.approx(3 * plain, rel=1e-5)
    paper = loss(mse_weight=0.0, l1_weight=1.0, l2_weight=1.0, gradient_weight=1.0)
    parts = [loss(mse_weight=0.0, **{name: 1.0}) for name in none]
    assert paper == pytest.approx(sum(parts), rel=1e-5)


def test_the_logarithm_weighs_every_frame_alike(digits: Path) -> None:
    none = {"l1_weight": 0.0, "l2_weight": 0.0, "gradient_weight": 0.0}
    task = PredictionTask(recipe(digits, **none, log_weight=2.0), CPU)
    truth = torch.zeros(2, 1, 1, 4, 4)
    for size in (0.1, 0.5):
        found = torch.stack([torch.full((1, 1, 4, 4), e) for e in (size, 0.2)])
        expected = 2 * np.mean([np.log(1 + e**2 / 1e-4) for e in (size, 0.2)])
        assert float(task._distance(found, truth)) == pytest.approx(expected, rel=1e-5)


def test_a_share_of_the_clips_is_to_be_remembered(digits: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 8)
    base = {"digits": "", "videos": (str(tmp_path),), "channels": 3, "zoom": 2.0}
    plain, mixed, whole = (PredictionTask(recipe(digits, **base, recalled=s), CPU) for s in (0, 0.5, 1))
    clips = [[task.clips[ClipRequest(i, 5, 32)].frames for i in range(12)] for task in (plain, mixed, whole)]
    real = [torch.equal(a, b) for a, b in zip(clips[0], clips[1], strict=True)]
    made = [torch.equal(a, b) for a, b in zip(clips[2], clips[1], strict=True)]
    assert real == [not m for m in made]
    assert 2 < sum(real) < 10


def test_validation_is_the_same_for_every_seed_and_of_other_digits(digits: Path) -> None:
    one, two = (PredictionTask(recipe(digits, seed=seed), CPU) for seed in (0, 5))
    a, b = (torch.cat(list(task.held_clips(2))) for task in (one, two))
    assert a.shape == (3, 5, 1, 32, 32)
    assert torch.equal(a, b)
    assert not torch.equal(batch_of(one).frames, batch_of(two).frames)
    # Squares grow with their number in the file: the area tells which digits were taken.
    assert min(int((clip > 0).sum()) for clip in a[:, 0]) >= 12 * 14


def test_a_run_of_the_engine_leaves_a_model_that_predicts(digits: Path, tmp_path: Path) -> None:
    path = train(recipe(digits, validate_every=2, config={"slots": 2}), tmp_path / "run")
    model = from_pretrained(path)
    assert isinstance(model, Predictor)
    assert model.rules().layout.slots == 2
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert all(f'"{name}"' in log for name in ("score", "ssim", "psnr", "mse", "mae"))


def test_videos_train_too(digits: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", 8)
    videos = {"digits": "", "videos": (str(tmp_path),), "held_out": ("b",)}
    task = PredictionTask(recipe(digits, **videos, model="stremn-motion"), CPU)
    with pytest.raises(StremnError, match=r"'b', which is held out, has 8 frames, and a clip .* has 9"):
        PredictionTask(recipe(digits, **videos, model="stremn-motion", frames=(9,), validate_every=1), CPU)
    names = tmp_path / "names.txt"
    names.write_text("b\n\n")
    listed = PredictionTask(
        recipe(digits, **(videos | {"videos": (f"{tmp_path}:{names}",), "held_out": ()})), CPU
    )
    assert [v["name"] for v in listed.describe_data()["videos"]] == ["b"]
    facts = task.describe_data()
    assert ([v["name"] for v in facts["videos"]], facts["held_out"]) == (
        ["a"],
        [{"name": "b", "frames": 8}],
    )
    model = task.new_model()
    assert batch_of(task).frames.shape == (2, 5, 3, 32, 32)
    figures, picture = task.validate(model)
    # An untrained model mixes mostly pixels of the last frame: the prediction is a blurred one.
    assert figures["score"] == figures["ssim"] > 0.1
    assert picture is not None
    assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)


@pytest.mark.parametrize(("kind", "held"), [("kth", "person16"), ("human36m", "S8")])
def test_people_held_out_only_validate_and_the_gap_is_kept(
    digits: Path, tmp_path: Path, kind: str, held: str
) -> None:
    people = {
        "digits": "",
        "videos": (write_people(tmp_path, kind, [held]),),
        "held_out": (held,),
        "frames": (8,),
        "observed": 4,
        "gap": 5,
        "squash": True,
        "mirror": False,
        "size": (128,),
    }
    task = PredictionTask(recipe(digits, **people), CPU)

    def numbers(clip: torch.Tensor) -> list[int]:
        return [number_of(frame.permute(1, 2, 0).numpy()) for frame in clip]

    # Eight frames, five apart, span all 36 of a video.
    for number in range(20):
        assert numbers(task.clips[ClipRequest(number, 8, 128)].frames) == list(range(0, 36, 5))
    (clips,) = task.held_clips(2)
    assert [numbers(clip) for clip in clips] == [list(range(HELD_FRAMES, HELD_FRAMES + 36, 5))]
    facts = task.describe_data()
    assert len(facts["held_out"]) == 1
    assert held in facts["held_out"][0]["name"]
    assert not any(held in video["name"] for video in facts["videos"])
    for unknown in ("person1", "S", "person17", "S9"):
        with pytest.raises(StremnError, match=rf"'held_out' names \['{unknown}'\]") as caught:
            PredictionTask(recipe(digits, **people | {"held_out": (unknown,)}), CPU)
        assert "\n" not in str(caught.value)
    with pytest.raises(StremnError, match="the 43 frames that a clip spans; set fewer 'frames' or a smaller"):
        PredictionTask(recipe(digits, **people | {"gap": 6}), CPU).clips[ClipRequest(0, 8, 128)]
