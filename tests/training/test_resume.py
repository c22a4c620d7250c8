"""Runs that are interrupted, even killed, and resumed end with the same bits as runs that are not."""

import json
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from toy_task import TOY, toy

from stremn import create_model, save_pretrained
from stremn.errors import StremnError
from stremn.training import (
    PredictionRecipe,
    Recipe,
    SegmentationRecipe,
    StepReport,
    TrainingStopped,
    train,
)
from stremn.training.run import load_state

RESULTS = ("model.safetensors", "best.safetensors", "average.safetensors")
CHECKPOINT = ("raw.safetensors", "model.safetensors", "optimizer.safetensors")

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["stremn.training", "accelerate", "torch.utils.tensorboard", "torchmetrics.functional.image"]
)


class Killed(Exception):  # noqa: N818
    pass


def killed_at(step: int) -> Callable[[StepReport], None]:
    def watch(report: StepReport) -> None:
        if report.step == step:
            raise Killed

    return watch


def assert_same(one: Path, other: Path) -> None:
    """Weights, averages and optimiser bit by bit, and the log but for the clock."""
    last = {max(p.name for p in (out / "checkpoints").iterdir()) for out in (one, other)}
    (step,) = last
    kept = load_state(one / "checkpoints" / step).best_weights
    assert load_state(other / "checkpoints" / step).best_weights == kept != {}
    files = (*RESULTS, *(f"best/{name}" for name in kept), *(f"checkpoints/{step}/{f}" for f in CHECKPOINT))
    for name in files:
        assert bits_of(one / name) == bits_of(other / name), name
    assert log_of(one) == log_of(other)


def bits_of(path: Path) -> dict[str, bytes]:
    """Every tensor of a file as its bytes; the order of a file's metadata is not fixed."""
    tensors = load_file(path)
    assert tensors
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def log_of(out: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    clock = {"seconds", "images_per_second"}
    return [{name: value for name, value in r.items() if name not in clock} for r in records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy run without an interruption."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(TOY, out)
    return out


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy run, killed in the middle."""
    out = tmp_path_factory.mktemp("begun") / "run"
    with pytest.raises(Killed):
        train(TOY, out, watch=killed_at(7))
    return out


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stops=st.lists(st.integers(1, TOY.steps), max_size=4),
    save_every=st.integers(1, 5),
)
def test_stopped_anywhere(
    stops: list[int], save_every: int, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("stopped") / "run"
    recipe = toy(save_every=save_every)
    for step in stops:
        with suppress(Killed):
            train(recipe, out, resume=True, watch=killed_at(step))
    train(recipe, out, resume=True)
    assert_same(whole, out)


def test_asked_to_stop(whole: Path, tmp_path: Path) -> None:
    """Between two checkpoints; the step at which it stops has one."""
    out, seen = tmp_path / "run", []
    with pytest.raises(TrainingStopped, match="step 5"):
        train(TOY, out, watch=lambda report: seen.append(report.step), stop=lambda: len(seen) == 4)
    assert seen == [1, 2, 3, 4, 5]
    assert (out / "checkpoints" / "step-000005").is_dir()
    train(TOY, out, resume=True, watch=lambda report: seen.append(report.step))
    assert seen == list(range(1, TOY.steps + 1))
    assert_same(whole, out)


def test_a_finished_run_stays_as_it_is(whole: Path, tmp_path: Path) -> None:
    before = (whole / "model.safetensors").read_bytes(), log_of(whole)
    train(TOY, whole, resume=True, watch=killed_at(1))
    assert ((whole / "model.safetensors").read_bytes(), log_of(whole)) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int, whole: Path, tmp_path: Path) -> None:
    train(toy(workers=workers), tmp_path / "run")
    assert_same(whole, tmp_path / "run")


def test_what_may_change_and_what_may_not(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train(TOY, out, watch=killed_at(4))
    with pytest.raises(StremnError, match=r"holds a run: resume it, or give another folder"):
        train(TOY, out)
    for key, value in (("steps", 13), ("seed", 1), ("learning_rate", 0.5), ("batch", (3,)), ("noise", 0.0)):
        with pytest.raises(StremnError, match=f"was begun with {key}: ") as error:
            train(toy(**{key: value}), out, resume=True)
        assert "\n" not in str(error.value)
    train(toy(save_every=2, keep=5, workers=1, validate_every=6), out, resume=True)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("precious")
    with pytest.raises(StremnError, match=r"holds model\.safetensors of a run without recipe\.yaml"):
        train(TOY, tmp_path)
    with pytest.raises(StremnError, match="is a file: give a folder"):
        train(TOY, tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["run.json", "data.json", "log.jsonl", "best.safetensors", "best/mine"])
def test_what_no_run_wrote_is_kept(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"step": 9}')
    with pytest.raises(StremnError, match=f"holds {path.relative_to(tmp_path).parts[0]}, which no run wrote"):
        train(TOY, tmp_path)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [path.name]
    assert path.read_text() == '{"step": 9}'


def test_other_data_than_it_was_begun_with(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(TOY, tmp_path, watch=killed_at(4))
    (tmp_path / "data.json").write_text('{"videos": ["another"]}')
    with pytest.raises(StremnError, match="was begun with other data"):
        train(TOY, tmp_path, resume=True)
    assert (tmp_path / "data.json").read_text() == '{"videos": ["another"]}'


def test_another_number_of_processes(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(TOY, tmp_path, watch=killed_at(4))
    path = tmp_path / "checkpoints" / "step-000003" / "state.json"
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 2'))
    with pytest.raises(StremnError, match="was begun with 2 processes, not 1; resume it with as many"):
        train(TOY, tmp_path, resume=True)


@pytest.mark.parametrize("file", ["optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint(file: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(TOY, tmp_path, watch=killed_at(4))
    path = tmp_path / "checkpoints" / "step-000003" / file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StremnError, match=f"{file}: not a usable checkpoint .*remove that folder"):
        train(TOY, tmp_path, resume=True)
    shutil.rmtree(path.parent)
    train(TOY, tmp_path, resume=True)


WRONG = [None, True, -1, 10**9, 10**400, 1.5, float("nan"), "x", [], [1], {"a": 1}, {"../x": 1.0}]


def spoil(path: Path, rng: random.Random) -> None:
    """Cut a file off, change some of its bytes or an entry, or remove it."""
    data = bytearray(path.read_bytes())
    way = rng.choice(("cut", "bytes", "gone", "entry"))
    if way == "gone":
        path.unlink()
    elif way == "cut":
        path.write_bytes(data[: rng.randrange(len(data))])
    elif way == "entry" and path.suffix == ".json":
        facts = json.loads(data)
        facts[rng.choice(sorted(facts))] = rng.choice(WRONG)
        path.write_text(json.dumps(facts))
    else:
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)


@pytest.mark.parametrize("seed", range(20))
def test_a_spoilt_folder_is_resumed_or_refused_on_one_line(seed: int, begun: Path, tmp_path: Path) -> None:
    out, rng = tmp_path / "run", random.Random(seed)
    shutil.copytree(begun, out)
    files = sorted(p for p in out.rglob("*") if p.is_file() and "tensorboard" not in p.parts)
    spoil(rng.choice(files), rng)
    message = ""
    try:
        train(TOY, out, resume=True)
    except StremnError as error:
        message = str(error)
    assert "\n" not in message
    assert message or (out / "model.safetensors").exists()


def run_in_process(recipe: Recipe, out: Path, pipe: Connection) -> None:
    """The whole of a process that the test kills: train, telling every step."""
    import toy_task  # noqa: F401  (registers the task)

    train(recipe, out, resume=True, watch=lambda report: pipe.send(report.step))


def train_with_kills(recipe: Recipe, out: Path, rng: random.Random, kills: int) -> list[int]:
    """Real processes, killed at random points; the last one is left to finish. The steps of the kills."""
    steps = []
    for left in reversed(range(kills + 1)):
        ours, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=run_in_process, args=(recipe, out, theirs))
        process.start()
        theirs.close()
        more = rng.randint(1, max(1, recipe.steps // kills))
        try:
            while left and more:
                step, more = ours.recv(), more - 1
            if left:
                time.sleep(rng.random() * 0.05)
                process.kill()  # SIGKILL; it may have finished by now
                steps.append(step)
        except EOFError:
            pass  # It had finished.
        while not left and process.is_alive():
            if ours.poll(1):
                try:
                    ours.recv()
                except EOFError:
                    break
        process.join(300)
        assert process.exitcode == (-signal.SIGKILL if left else 0) or left
    return steps


@pytest.mark.parametrize("seed", range(4))
def test_killed(seed: int, whole: Path, tmp_path: Path) -> None:
    steps = train_with_kills(toy(save_every=1 + seed), tmp_path / "run", random.Random(seed), kills=3)
    print(f"seed {seed}: killed after steps {steps}")
    assert steps
    assert_same(whole, tmp_path / "run")
    assert not [p for p in (tmp_path / "run").rglob("*") if p.name.startswith(".")]


def test_killed_after_the_last_step(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(toy(), out)
    (out / "model.safetensors").unlink()
    newest = max((out / "checkpoints").iterdir())
    shutil.copytree(newest, newest.with_name(".step-000001.old"))
    train(toy(), out, resume=True)
    assert (out / "model.safetensors").exists()
    assert not list((out / "checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_segmentation_killed(precision: str, recipe: SegmentationRecipe, tmp_path: Path) -> None:
    """Real clips, the real model, trained backbone blocks, contests for a slot; other workers each time."""
    recipe = replace(
        recipe, precision=precision, steps=8, save_every=2, frames=(6, 3), size=(32, 64), batch=(2, 1)
    )
    recipe = replace(recipe, chosen=2, validate_every=4, average_best=2)
    assert_kills_change_nothing(recipe, tmp_path)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_prediction_killed(precision: str, digits: Path, tmp_path: Path) -> None:
    """Clips of digits, a narrow model whose slots are contested, the average."""
    widths = {"widths": (8,) * 6, "key_dim": 8, "value_dim": 8, "update_dim": 8}
    torch.manual_seed(0)
    start = save_pretrained(create_model("stremn-predict-mnist", **widths), tmp_path / "start.safetensors")
    recipe = PredictionRecipe(
        start=str(start),
        digits=str(digits),
        train_digits=(0, 30),
        held_digits=(30, 40),
        frames=(6, 4),
        size=(32,),
        batch=(2,),
        observed=3,
        config={"slots": 2},
        steps=10,
        warmup=1,
        workers=0,
        precision=precision,
        save_every=3,
        validate_every=2,
        validate_clips=2,
        average_best=2,
    )
    assert_kills_change_nothing(recipe, tmp_path)


def assert_kills_change_nothing(recipe: Recipe, folder: Path) -> None:
    """A run with two kills, and one without that has other workers."""
    train(replace(recipe, workers=2), folder / "whole")
    seed = random.randrange(10**6)
    steps = train_with_kills(recipe, folder / "killed", random.Random(seed), kills=2)
    print(f"seed {seed}: killed after steps {steps}")
    assert steps
    assert_same(folder / "whole", folder / "killed")
