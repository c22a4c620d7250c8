"""Files of paused sessions, of both tasks: what is damaged, foreign or of another model is refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stremn.errors import StremnError
from stremn.models import create_model, save_pretrained
from stremn.sessions import PredictionSession, SegmentationSession
from stremn.sessions.session import VERSION

NARROW = {"widths": (8,) * 6, "key_dim": 8, "value_dim": 8, "update_dim": 8}


@dataclass(frozen=True)
class Paused:
    """A session after two frames, its file, and models that it is not of, with what they are called."""

    session: SegmentationSession | PredictionSession
    path: Path
    others: tuple[Any, ...]

    def refusal(self, path: Path | None = None, model: Any = None) -> str:
        with pytest.raises(StremnError) as caught:
            type(self.session).load(path or self.path, model or self.session.model, device="cpu")
        message = str(caught.value)
        assert "\n" not in message
        return message

    @property
    def key(self) -> str:
        return self.session.key


@pytest.fixture(params=["segmentation", "prediction"])
def paused(request: pytest.FixtureRequest, video: list[np.ndarray], tmp_path: Path) -> Paused:
    session: SegmentationSession | PredictionSession
    torch.manual_seed(0)
    if request.param == "segmentation":
        session = SegmentationSession(request.getfixturevalue("model"), size=0, device="cpu")
        session.step(video[0], request.getfixturevalue("boxes")(1))
        session.step(video[1])
        with torch.device("meta"):
            paper = create_model("stremn-r50")
        others = (create_model("stremn-lite", key_dim=32), paper)
    else:
        session = PredictionSession(create_model("stremn-predict", **NARROW), size=0, device="cpu")
        session.observe(video[0])
        session.observe(video[1])
        others = (create_model("stremn-predict", **NARROW | {"key_dim": 16}), create_model("convlstm-small"))
    return Paused(session, session.save(tmp_path / "paused.safetensors"), others)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.9999])
def test_truncated_files_are_refused(paused: Paused, share: float) -> None:
    data = paused.path.read_bytes()
    paused.path.write_bytes(data[: int(share * len(data))])
    assert str(paused.path) in paused.refusal()


@pytest.mark.parametrize("place", [0.5, 0.8, 0.99])
def test_a_single_wrong_bit_is_noticed(paused: Paused, place: float) -> None:
    data = bytearray(paused.path.read_bytes())
    data[int(place * len(data))] ^= 1
    paused.path.write_bytes(data)
    assert "damaged" in paused.refusal()


def test_a_changed_fact_is_noticed(paused: Paused) -> None:
    data = paused.path.read_bytes()
    assert data.count(rb"frame_index\\\": 1") == 1
    paused.path.write_bytes(data.replace(rb"frame_index\\\": 1", rb"frame_index\\\": 7"))
    assert "damaged" in paused.refusal()


def test_foreign_files_are_refused(paused: Paused, tmp_path: Path) -> None:
    weights = save_pretrained(paused.session.model, tmp_path / "weights.safetensors")
    assert f"{type(paused.session).__name__}.save" in paused.refusal(weights)
    text = tmp_path / "text.safetensors"
    text.write_text("once upon a time")
    paused.refusal(text)
    paused.refusal(tmp_path / "absent.safetensors")
    paused.refusal(tmp_path)
    for content in ("", "[]", "{}", json.dumps({"digest": "0", "facts": "{}"})):
        save_file(load_file(paused.path), text, metadata={paused.key: content})
        paused.refusal(text)


def test_another_format_is_refused(paused: Paused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stremn.sessions.session.VERSION", VERSION + 1)
    assert f"format {VERSION}," in paused.refusal()


def test_another_model_is_refused(paused: Paused) -> None:
    architecture = paused.session.model.config.architecture
    for other in paused.others:
        message = paused.refusal(model=other)
        assert f"of a model '{architecture}' with another config than the given one" in message
        assert f"('{other.config.architecture}')" in message


def test_where_it_cannot_be_written_is_said(paused: Paused, tmp_path: Path) -> None:
    with pytest.raises(StremnError) as caught:
        paused.session.save(tmp_path / "no" / "folder.safetensors")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["paused.safetensors"]
