"""Checkpoints carry their config; what is not ours is refused in one line, and nothing is unpickled."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import stremn.models
from stremn.errors import StremnError
from stremn.models import MODELS, Segmenter, SegmenterConfig, create_model, from_pretrained, save_pretrained


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    return create_model("stremn-lite", slots=5, policy="oldest")


@pytest.fixture(scope="module")
def weights(model: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(model, tmp_path_factory.mktemp("weights") / "good.safetensors")


def refusal(source: Path | str) -> str:
    with pytest.raises(StremnError) as caught:
        from_pretrained(source)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def rewritten(weights: Path, path: Path, config: Any = None, drop: str = "", **tensors: torch.Tensor) -> Path:
    state = {n: t for n, t in (load_file(weights) | tensors).items() if n != drop}
    text = config if isinstance(config, str) else json.dumps(config)
    save_file(state, path, metadata={"stremn_config": text})
    return path


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_what_is_loaded(name: str, tmp_path: Path) -> None:
    model = create_model(name)
    loaded = from_pretrained(save_pretrained(model, tmp_path))
    assert loaded.config == model.config
    assert not loaded.training
    own, other = model.state_dict(), loaded.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[n], other[n]) for n in own)


def test_a_folder_and_its_file_are_the_same(model: Segmenter, tmp_path: Path) -> None:
    path = save_pretrained(model, tmp_path / "run1")
    assert path == tmp_path / "run1" / "model.safetensors"
    assert from_pretrained(tmp_path / "run1").config == from_pretrained(path).config == model.config
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_half_precision_is_stored_and_read_back_as_float32(model: Segmenter, tmp_path: Path) -> None:
    path = save_pretrained(model, tmp_path / "half.safetensors", dtype=torch.float16)
    stored, loaded, own = load_file(path), from_pretrained(path).state_dict(), model.state_dict()
    assert {t.dtype for t in stored.values() if t.is_floating_point()} == {torch.float16}
    for name, tensor in loaded.items():
        assert tensor.dtype == own[name].dtype
        torch.testing.assert_close(tensor, own[name], rtol=1e-3, atol=1e-4)


def test_a_tensor_too_large_for_half_precision_keeps_its_own(tmp_path: Path) -> None:
    model = create_model("stremn-lite")
    model.get_submodule("key").bias.data.fill_(1e6)
    loaded = from_pretrained(save_pretrained(model, tmp_path / "half.safetensors", dtype=torch.float16))
    assert loaded.get_submodule("key").bias.eq(1e6).all()


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.001, 0.5, 0.999])
def test_truncated_files_are_refused(weights: Path, tmp_path: Path, share: float) -> None:
    data = weights.read_bytes()
    path = tmp_path / "short.safetensors"
    path.write_bytes(data[: int(share * len(data))])
    assert str(path) in refusal(path)
    path.write_bytes(data[:-1])
    assert str(path) in refusal(path)


def _text(path: Path) -> None:
    path.write_text("once upon a time\n" * 100)


def _foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})


def _bare(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def _noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


@pytest.mark.parametrize("make", [_text, _foreign, _bare, _noise])
def test_foreign_files_are_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "foreign.safetensors"
    make(path)
    message = refusal(path)
    assert str(path) in message
    assert "save_pretrained" in message


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    path, mark = tmp_path / "model.pth", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    refusal(path)
    torch.save({"weight": Bomb(mark)}, path)
    refusal(path)
    assert not mark.exists()


def test_the_models_room_has_no_way_to_unpickle() -> None:
    for path in Path(stremn.models.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert "torch.load" not in text
        assert "pickle" not in text


GOOD = asdict(MODELS["stremn-lite"])


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (GOOD | {"turbo": True, "zeal": 1}, "turbo"),
        ({k: v for k, v in GOOD.items() if k != "architecture"}, "architecture"),
        (GOOD | {"architecture": "transformer"}, "transformer"),
        (GOOD | {"architecture": {}}, "architecture"),
        (GOOD | {"policy": "best"}, "best"),
        (GOOD | {"policy": {}}, "config"),
        (GOOD | {"slots": 1}, "slots"),
        (GOOD | {"slots": "six"}, "slots"),
        (GOOD | {"key_dim": 0}, "key_dim"),
        (GOOD | {"value_dim": 10**12}, "value_dim"),
        (GOOD | {"candidate_every": 0}, "candidate_every"),
        (GOOD | {"size": -1}, "size"),
        (GOOD | {"similarity": "cosine"}, "cosine"),
        (GOOD | {"scale": "large"}, "scale"),
        (GOOD | {"mean": [0.5]}, "mean"),
        (GOOD | {"std": None}, "config"),
        ([], "config"),
        (5, "config"),
        ("{not json", "config"),
    ],
)
def test_configs_that_no_model_can_be_built_from_are_refused(
    weights: Path, tmp_path: Path, config: Any, words: str
) -> None:
    path = rewritten(weights, tmp_path / "config.safetensors", config)
    message = refusal(path)
    assert str(path) in message
    assert words in message


def test_tensors_that_do_not_fit_the_config_are_named(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "tensors.safetensors"
    assert "'key.bias'" in refusal(rewritten(weights, path, GOOD, drop="key.bias"))
    assert "'extra'" in refusal(rewritten(weights, path, GOOD, extra=torch.zeros(2)))
    assert "'key.bias'" in refusal(rewritten(weights, path, GOOD, **{"key.bias": torch.zeros(63)}))
    assert "key" in refusal(rewritten(weights, path, GOOD | {"key_dim": 32}))
    from_pretrained(rewritten(weights, path, GOOD))


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    for source in ("stremn-huge", tmp_path / "nothing.safetensors", tmp_path):
        message = refusal(source)
        assert str(source) in message
        assert all(name in message for name in MODELS)
    with pytest.raises(StremnError, match="stremn-lite, stremn-r50"):
        create_model("stremn-huge")
    with pytest.raises(StremnError, match="turbo"):
        create_model("stremn-lite", turbo=True)
    with pytest.raises(StremnError, match="slots"):
        create_model("stremn-lite", slots=1)


def test_a_failed_write_leaves_what_was_there(model: Segmenter, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(weights, path)
    before = path.read_bytes()
    (tmp_path / ".model.safetensors.part").mkdir()
    with pytest.raises((StremnError, OSError)):
        save_pretrained(model, path)
    assert path.read_bytes() == before
    with pytest.raises(StremnError) as caught:
        save_pretrained(model, tmp_path / "no" / "folder" / "model.safetensors")
    assert "\n" not in str(caught.value)
    with pytest.raises(StremnError):
        save_pretrained(model, path / "below_a_file")


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_a_config_survives_json(config: SegmenterConfig) -> None:
    assert SegmenterConfig.from_json(config.to_json()) == config
