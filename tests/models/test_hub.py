"""Weights by ``hf:owner/name``; the download itself is the hub library's."""

from pathlib import Path

import huggingface_hub
import pytest

from stremn.errors import StremnError
from stremn.models import create_model, from_pretrained, save_pretrained


def test_a_repository_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("stremn-lite")
    file = save_pretrained(model, tmp_path)
    asked = []
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *name: asked.append(name) or str(file))
    assert from_pretrained("hf:owner/name").config == model.config
    assert asked == [("owner/name", file.name)]


def test_no_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: str) -> str:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    with pytest.raises(
        StremnError, match=r"hf:owner/name: cannot get model.safetensors .*give a file"
    ) as caught:
        from_pretrained("hf:owner/name")
    assert "\n" not in str(caught.value)
