"""Recipes: every key checked when it is read."""

import ast
import inspect
import itertools
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stremn.errors import StremnError
from stremn.models import MODELS
from stremn.training import TASKS, PredictionRecipe, SegmentationRecipe, load_recipe
from stremn.training.plan import rate_share
from stremn.training.recipe import expand

RECIPES = Path(str(files("stremn"))) / "recipes"
SHIPPED = sorted(RECIPES.glob("*/*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text("stills: [here]\n" + text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_shipped_recipes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREMN_DATA", "/data")
    recipe = load_recipe(path)
    if not isinstance(recipe, SegmentationRecipe):
        return
    assert recipe.model in MODELS
    assert (
        all(frames - 2 >= recipe.chosen for frames in recipe.frames)
        or path == RECIPES / "paper" / "stage1.yaml"
    )
    for entry in (*recipe.videos, *recipe.stills):
        assert expand(entry).startswith("/data/")
    # Sequences for selection are set apart, and the report's are no part of any recipe.
    assert recipe.held_out
    assert not any("val" in entry.rpartition("/")[2] for entry in recipe.videos)


def test_the_recipes_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """V5: clip lengths, size, loss, optimiser, rates, slots."""
    one, two = (load_recipe(RECIPES / "paper" / f"stage{number}.yaml") for number in (1, 2))
    assert isinstance(one, SegmentationRecipe)
    assert isinstance(two, SegmentationRecipe)
    for recipe, frames in ((one, 5), (two, 10)):
        assert (recipe.model, recipe.frames, recipe.size) == ("stremn-r50", (frames,), (384,))
        assert (recipe.optimizer, recipe.weight_decay, recipe.dice_weight, recipe.hard_share) == (
            "adam",
            0,
            0,
            1,
        )
        assert recipe.backbone_rate == recipe.learning_rate
        assert recipe.frozen_blocks == 0
        # The memory is the model's own, as printed.
        assert (recipe.config, recipe.chosen, recipe.candidate_every, MODELS[recipe.model].slots) == (
            {},
            0,
            0,
            6,
        )
        # Chosen by sequences that are not trained on; nothing augmented that the header does not list.
        assert recipe.validate_every
        assert len(recipe.held_out) == 6
        assert (recipe.hidden_share, recipe.look_alike_share) == (0, 0)
    rates = [one.learning_rate * rate_share(step, one) for step in (0, one.steps // 2, one.steps)]
    assert rates == [1e-4] * 3
    rates = [two.learning_rate * rate_share(step, two) for step in (0, two.steps // 2, two.steps)]
    assert rates == pytest.approx([1e-5, (1e-5 + 1e-7) / 2, 1e-7])
    assert [Path(root).name for root in one.stills] == ["COCO", "ECSSD", "SBD", "MSRA10K", "HKU-IS"]
    assert (one.video_share, two.stills, two.video_share) == (0, (), 1)
    assert one.held_out == two.held_out


def test_the_prediction_recipes_of_the_paper() -> None:
    """P3-P5: frames, size, losses, optimiser, rate, the mean of the best, and who validates."""
    for name, frames, gap, people in (
        ("kth", (10, 20), 1, {f"person{person:02d}" for person in range(1, 17)}),
        ("human36m", (4, 4), 5, {"S1", "S5", "S6", "S7", "S8"}),
    ):
        recipe = load_recipe(RECIPES / "paper" / f"{name}.yaml")
        assert isinstance(recipe, PredictionRecipe)
        assert (recipe.model, recipe.start, recipe.size) == ("stremn-predict", "", (128,))
        assert (recipe.observed, recipe.frames[0] - recipe.observed, recipe.gap) == (*frames, gap)
        assert (recipe.optimizer, recipe.weight_decay, recipe.mse_weight) == ("adam", 0, 0)
        assert min(recipe.l1_weight, recipe.l2_weight, recipe.gradient_weight) > 0
        assert {recipe.learning_rate * rate_share(step, recipe) for step in (0, recipe.steps)} == {1e-3}
        assert recipe.average_best > 1
        assert set(recipe.held_out) < people


def test_there_are_recipes() -> None:
    assert len(SHIPPED) >= 2


def test_types_and_changes(tmp_path: Path) -> None:
    path = write(tmp_path, "learning_rate: 1e-4\nweight_decay: 0\nvideos: one\n")
    recipe = load_recipe(path, ("steps=7", "stills=[a, b]", "backbone_rate=3e-5", "model=stremn-r50"))
    assert recipe.learning_rate == 1e-4
    assert isinstance(recipe.weight_decay, float)
    assert recipe.videos == ("one",)
    assert recipe.stills == ("a", "b")
    assert (recipe.steps, recipe.backbone_rate, recipe.model) == (7, 3e-5, "stremn-r50")
    assert isinstance(recipe, SegmentationRecipe)
    assert recipe.batch == SegmentationRecipe(stills=("x",)).batch


def test_a_record_is_a_recipe(tmp_path: Path) -> None:
    recipe = SegmentationRecipe(stills=("a",), learning_rate=1e-4, frames=(3, 4), keep=7)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "unknown key 'stepz'; known are accumulate, activation_checkpointing, average_best, "),
        ("task: painting", "key 'task' cannot be 'painting'; give segmentation"),
        ("optimizer: sgd", "'optimizer' must be adamw or adam, not 'sgd'"),
        ("keep: 0", "'keep' must be at least 1, not 0"),
        ("deterministic: 1", "key 'deterministic' cannot be 1; give true or false"),
        ("validate_every: 5", "'validate_every' needs sequences in 'held_out'"),
        ("batch: [2, 3]\nframes: [4, 5, 6]", "must be numbers, or lists of the same length"),
        ("frames: []", "must be numbers, or lists of the same length"),
        ("steps: many", "key 'steps' cannot be 'many'; give a whole number"),
        ("steps: 2.5", r"key 'steps' cannot be 2\.5; give a whole number"),
        ("steps: true", "key 'steps' cannot be True; give a whole number"),
        ("learning_rate: fast", "key 'learning_rate' cannot be 'fast'; give a number"),
        ("ema: [0.9]", r"key 'ema' cannot be \[0\.9\]; give a number"),
        ("model: 3", "key 'model' cannot be 3; give text"),
        ("videos: [1, 2]", r"key 'videos' cannot be \[1, 2\]; give a list of texts"),
        ("videos: {a: b}", r"key 'videos' cannot be \{'a': 'b'\}; give a list of texts"),
        ("size: 100", "'size' must be a multiple of 32, not 100"),
        ("frames: 1", "'frames' must be at least 2, not 1"),
        ("batch: 0", "'batch' must be at least 1, not 0"),
        ("save_every: 0", "'save_every' must be at least 1, not 0"),
        ("max_gap: 0", "'max_gap' must be at least 1, not 0"),
        ("chosen: -1", "'chosen' must be at least 0, not -1"),
        ("learning_rate: .nan", "'learning_rate' must be at least 0, not nan"),
        ("learning_rate: .inf", "'learning_rate' must be at most 2147483647, not inf"),
        ("video_share: 1.5", r"'video_share' must be at most 1, not 1\.5"),
        ("ema: .nan", "'ema' must be at least 0, not nan"),
        ("precision: fp8", "'precision' must be bf16 or fp16 or no, not 'fp8'"),
        ("a: [", r"cannot read the recipe \(line 2, column 5: expected the node content"),
        ("steps: 3\n\tkeep: 2", r"\(line 3, column 1: .*'\\t'.*; write spaces in place of tabs\)"),
        ("\tkeep: 2", r"\(line 2, column 1: .*; write spaces in place of tabs\)"),
        ("keep: 2\nkeep: 3", r"\(line 3, column 1: key 'keep' is there twice\)"),
        ("keep: !!python/name:os.system", r"\(line 2, column 7: could not determine a constructor"),
        ("keep: 2020-99-99", r"\(line 2, column 7: month must be in 1\.\.12\)"),
        ("keep: " + "9" * 5000, r"\(line 2, column 7: Exceeds the limit"),
        ("keep: 0x" + "f" * 5000, "key 'keep' is too large a number; give at most 2147483647"),
        ("learning_rate: 0x" + "f" * 5000, "key 'learning_rate' is too large a number"),
        ("videos: [0x" + "f" * 5000 + "]", "key 'videos' cannot be .* too many digits to show"),
        ("model: a\0b", r"\(line 2, column 9: character 0x0 is not allowed\)"),
        ('model: "a\\0b"', "key 'model' holds characters that no name has"),
        ('model: "a\\ud800b"', "key 'model' holds characters that no name has"),
        ("keep: " + "[" * 5000, r"\(line 1, column 1: too many lists within lists\)"),
        ("? [1, 2]\n: 3", "line 2, column 3: found unhashable key"),
        ("keep: [*a]", "found undefined alias"),
        ("<<: 3", "expected a mapping"),
        ("1: 2", "unknown key 1; known are"),
        ("task: [segmentation]", "key 'task' cannot be"),
        ("workers: 100000", "'workers' must be at most 512, not 100000"),
        ("frames: 99999", "'frames' must be at most 10000, not 99999"),
        ("weight_decay: 1.0e+300", r"'weight_decay' must be at most 2147483647, not 1e\+300"),
        ("size: 32768", "'size' must be at most 8192, not 32768"),
        ("videos: ['']", r"key 'videos' cannot be \[''\]; give a list of texts"),
        ("config: 3", r"key 'config' cannot be 3; give \{field: value, ...\}"),
        ("config: {1: 2}", r"key 'config' cannot be \{1: 2\}; give \{field: value"),
        ("config: {tau: .nan}", r"key 'config' cannot be \{'tau': nan\}; give \{field: value"),
        ("config: {slots: {a: b}}", r"key 'config' cannot be .*; give \{field: value"),
        ("learning_rate: 1e999", "'learning_rate' must be at most 2147483647, not inf"),
    ],
    ids=lambda text: text[:30],
)
def test_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=message) as error:
        load_recipe(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_without_data(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="neither 'videos' nor 'stills' names any data"):
        load_recipe(write(tmp_path, ""), ("stills=[]",))


BASE = (RECIPES / "lite" / "stage3.yaml").read_text(encoding="utf-8")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def assert_read_or_refused(path: Path) -> None:
    """It becomes a recipe that can be written down and read again, or one line says why not."""
    message, recipe = "", None
    try:
        recipe = load_recipe(path)
    except StremnError as error:
        message = str(error)
    assert message.isprintable()
    assert len(message) < 2000
    if recipe is not None:
        assert type(recipe).from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict())), path) == recipe


@settings(deadline=None, max_examples=60)
@given(edits=st.lists(st.tuples(st.integers(0, len(BASE)), st.binary(max_size=3)), min_size=1, max_size=4))
def test_mutated_files(edits: list[tuple[int, bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    text = BASE.encode()
    for place, inserted in edits:
        text = text[:place] + inserted + text[place + 1 :]
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text)
    assert_read_or_refused(path)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), name=st.sampled_from(["segmentation", "prediction"]))
def test_drawn_values(data: st.DataObject, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    keys = [f.name for f in fields(TASKS[name].recipe_class) if f.name != "task"]
    values = data.draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=3))
    base = {"stills": ["here"]} if name == "segmentation" else {"digits": "here"}
    path = tmp_path_factory.getbasetemp() / "drawn.yaml"
    path.write_text(yaml.dump({"task": name, **base, **values}), encoding="utf-8")
    assert_read_or_refused(path)


@pytest.mark.parametrize("name", ["segmentation", "prediction"])
def test_every_number_has_its_bounds(name: str) -> None:
    kind = TASKS[name].recipe_class
    numbers = {f.name for f in fields(kind) if f.type in (int, float)}
    assert numbers == kind.bounds().keys() - {"frames", "size", "batch"}


def test_another_default_keeps_the_bounds() -> None:
    bounds = TASKS["prediction"].recipe_class.bounds()
    assert (bounds["frames"]["least"], bounds["learning_rate"]["least"]) == (2, 0)
    with pytest.raises(StremnError, match="'weight_decay' must be at least 0"):
        PredictionRecipe(digits="here", weight_decay=-1.0)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=r"none\.yaml: cannot read the recipe"):
        load_recipe(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(StremnError, match="a recipe is a list of 'key: value' lines"):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StremnError, match="cannot read the recipe"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [("steps", "write key=value"), ("steps=[", "not YAML .line 1, column")],
)
def test_bad_changes(change: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StremnError, match=message):
        load_recipe(write(tmp_path, ""), (change,))


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREMN_TEST_FOLDER", "/somewhere")
    assert expand("${STREMN_TEST_FOLDER}/a:$STREMN_TEST_FOLDER/b") == "/somewhere/a:/somewhere/b"
    monkeypatch.delenv("STREMN_TEST_FOLDER")
    with pytest.raises(StremnError, match="environment variable that is not set"):
        expand("${STREMN_TEST_FOLDER}/a")
    assert expand("") == ""


@pytest.mark.parametrize("name", ["segmentation", "prediction"])
def test_every_key_is_documented(name: str) -> None:
    """A string follows each, in the recipe or in the one that it builds on."""
    kind, documented = TASKS[name].recipe_class, set()
    for parent in filter(is_dataclass, kind.__mro__):
        (body,) = (node.body for node in ast.parse(inspect.getsource(parent)).body)  # type: ignore[attr-defined]
        for key, text in itertools.pairwise(body):
            if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr):
                documented.add(ast.unparse(key.target))
    assert documented >= {f.name for f in fields(kind)}


def test_lists_of_shapes(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "batch: [3, 1]\nframes: [4, 8]\nsize: 64\n"))
    assert recipe.shapes == [(3, 4, 64), (1, 8, 64)]
