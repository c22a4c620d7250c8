"""The mean of several checkpoints, and of the best weights of a run (P4)."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from toy_task import ToyModel, ToyTask, toy

from stremn.errors import StremnError
from stremn.models import create_model, save_pretrained
from stremn.training import average_models, train
from stremn.training.best import BestWeights
from stremn.training.plan import create_optimizer
from stremn.training.run import Checkpoints, RunState, load_state, save_state


def opened(out: Path, count: int) -> BestWeights:
    return BestWeights(out, count, ToyTask(toy(), torch.device("cpu")))


def weights(value: float) -> nn.Module:
    model = ToyModel(0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def value_in(path: Path) -> float:
    values = {float(v) for tensor in load_file(path).values() for v in tensor.flatten()}
    assert len(values) == 1
    return values.pop()


@settings(deadline=None, max_examples=25)
@given(
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.5, 3.0, float("nan")]), min_size=1),
    count=st.integers(0, 4),
)
def test_the_mean_is_that_of_the_best_at_every_moment(
    scores: list[float], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The weights of step s are s everywhere; of equal scores the earlier is taken."""
    out, state = tmp_path_factory.mktemp("run"), RunState()
    best = opened(out, count)
    for step, score in enumerate(scores, 1):
        best.offer(weights(step), step, score, state)
        known = [s for s in range(1, step + 1) if scores[s - 1] == scores[s - 1]]
        chosen = sorted(known, key=lambda s: -scores[s - 1])[:count]
        if chosen:
            expected = torch.tensor(chosen, dtype=torch.float64).mean().float()
            assert value_in(out / "average.safetensors") == float(expected)
        else:
            assert not (out / "average.safetensors").exists()
        assert [int(name[5:11]) for name in state.best_weights] == chosen
    best.clean([], state)
    kept = {path.name for path in (out / "best").glob("*")}
    assert kept == set(state.best_weights)


def test_weights_that_a_checkpoint_counts_on_stay(tmp_path: Path) -> None:
    """The run goes back to the checkpoint before: those that were better later are not there then."""
    best, state = opened(tmp_path, 1), RunState(step=2)
    checkpoints = Checkpoints(tmp_path / "checkpoints", 2)
    optimizer = create_optimizer([{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}], toy())
    for step, score in ((2, 1.0), (4, 2.0), (6, 3.0)):
        best.offer(weights(step), step, score, state)
        state.step = step
        checkpoints.write(step, lambda part: save_state(part, state, optimizer))
        (tmp_path / "best" / ".step-000009.safetensors.part").touch()
        best.clean(checkpoints.all(), state)
    assert sorted(p.name for p in (tmp_path / "best").iterdir()) == [
        "step-000004.safetensors",
        "step-000006.safetensors",
    ]
    before = load_state(checkpoints.all()[0])
    best.write_mean(before)
    assert value_in(tmp_path / "average.safetensors") == 4


def test_a_run_leaves_the_mean_of_its_best_weights(tmp_path: Path) -> None:
    train(toy(), tmp_path)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = {r["step"]: r["score"] for r in records if "score" in r}
    assert len(scores) == 6
    chosen = sorted(scores, key=lambda s: -scores[s])[:3]
    loaded = [load_file(tmp_path / "best" / f"step-{step:06d}.safetensors") for step in chosen]
    for name, tensor in load_file(tmp_path / "average.safetensors").items():
        torch.testing.assert_close(tensor, torch.stack([w[name] for w in loaded]).mean(dim=0))
    best = load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(best[name], loaded[0][name]) for name in best)
    (final,) = [r["average_score"] for r in records if "average_score" in r]
    task = ToyTask(toy(), torch.device("cpu"))
    assert task.validate(task.load_model(tmp_path / "average.safetensors").eval())[0]["score"] == final


def test_the_average_changes_nothing_else(tmp_path: Path) -> None:
    for count in (0, 2):
        train(toy(average_best=count), tmp_path / str(count))
    one, other = (load_file(tmp_path / str(count) / "model.safetensors") for count in (0, 2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not (tmp_path / "0" / "best").exists()
    assert not (tmp_path / "0" / "average.safetensors").exists()


def test_it_can_be_asked_for_later(tmp_path: Path) -> None:
    for before, after in itertools.pairwise((0, 4, 1)):
        out = tmp_path / f"{before}-{after}"
        stopped = iter([False] * 5 + [True])
        with pytest.raises(Exception, match="step 6"):
            train(toy(average_best=before), out, stop=lambda stopped=stopped: next(stopped))
        train(toy(average_best=after), out, resume=True)
        counted = load_state(out / "checkpoints" / "step-000012").best_weights
        assert len(counted) == (3 if before == 0 else after)
        assert (out / "average.safetensors").exists()


def test_without_validation_none_is_known_to_be_best() -> None:
    with pytest.raises(StremnError, match="'average_best' needs 'validate_every'"):
        toy(validate_every=0)
    with pytest.raises(StremnError, match="'average_best' must be at least 0"):
        toy(average_best=-1)


SMALL = {"hidden": (4, 4)}


def predictors(folder: Path, count: int) -> tuple[list[Path], list[dict[str, torch.Tensor]]]:
    paths, states = [], []
    for seed in range(count):
        torch.manual_seed(seed)
        model = create_model("predrnn-small", **SMALL)
        states.append(model.state_dict())
        paths.append(save_pretrained(model, folder / f"{seed}.safetensors"))
    return paths, states


def test_every_weight_is_the_mean(tmp_path: Path) -> None:
    paths, states = predictors(tmp_path, 3)
    model = average_models(paths)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([state[name] for state in states]).mean(dim=0))
    assert not torch.equal(model.cells[0].fuse.weight, states[0]["cells.0.fuse.weight"])


def test_the_mean_of_one_and_of_copies_is_itself(tmp_path: Path) -> None:
    paths, states = predictors(tmp_path, 1)
    for chosen in (paths, paths * 3):
        model = average_models(chosen)
        assert all(torch.equal(t, states[0][n]) for n, t in model.state_dict().items())


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    paths, _ = predictors(tmp_path, 1)
    other = save_pretrained(create_model("convlstm-small", **SMALL), tmp_path / "other.safetensors")
    with pytest.raises(StremnError, match="at least one"):
        average_models([])
    with pytest.raises(StremnError, match=r"other\.safetensors: of another config .*'convlstm', not"):
        average_models([*paths, other])
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(StremnError, match="must be from 0 to 1"):
            average_models([*paths, *paths], share=share)
    with pytest.raises(StremnError, match="two or more"):
        average_models(paths, share=0.5)
    for changes, message in (
        ({"colour": 1}, "its config has no colour"),
        ({"hidden": (8, 8)}, "its weights do not fit hidden"),
        ({"kernel": 4}, "kernel must be odd"),
        ({"size": "big"}, "size must be a whole number"),
    ):
        with pytest.raises(StremnError, match=message):
            average_models(paths, changes=changes)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, (0, 0.5, 0.5)), (0.4, (0.4, 0.3, 0.3)), (1.0, (1, 0, 0))]
)
def test_the_first_has_its_share(share: float, expected: tuple[float, ...], tmp_path: Path) -> None:
    paths, states = predictors(tmp_path, 3)
    for name, tensor in average_models(paths, share=share).state_dict().items():
        mean = sum(part * state[name] for part, state in zip(expected, states, strict=True))
        torch.testing.assert_close(tensor, mean)


def test_changed_fields_may_differ_before(tmp_path: Path) -> None:
    """Weights of different certainty are averaged where one certainty is given for the mean."""
    paths = []
    for certainty in (0.0, 0.8):
        torch.manual_seed(0)
        model = create_model("stremn-lite", certainty=certainty)
        paths.append(save_pretrained(model, tmp_path / f"{certainty}.safetensors"))
    with pytest.raises(StremnError, match=r"certainty 0\.8, not 0\.0"):
        average_models(paths)
    mean = average_models(paths, changes={"certainty": 0.5, "size": 432})
    assert (mean.config.certainty, mean.config.size, mean.training) == (0.5, 432, False)
    for name, tensor in mean.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
