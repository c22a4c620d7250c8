"""Weights by ``hf:owner/name``; what goes over the wire is the hub library's own doing."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from stremn.errors import StremnError
from stremn.models import create_model, from_pretrained, model_card, push_to_hub, save_pretrained


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


class _Hub(BaseHTTPRequestHandler):
    """As much of a hub as it takes to make a repository, commit files to it and get them back."""

    files: dict[str, bytes]
    asked: list[tuple[str, str | None]]

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.path, self.headers["Authorization"]))
        address = f"http://{self.headers['Host']}/me/cats"
        if self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create" and json.loads(body)["name"] == "cats":
            self._answer({"url": address})
        elif self.path == "/api/repos/create":
            self.send_error(403)
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._answer(
                {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
            )
        else:
            assert self.path.startswith("/api/models/me/cats/commit/main")
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._answer({"commitUrl": f"{address}/commit/0", "commitOid": "0" * 40})

    def do_GET(self) -> None:
        found = re.fullmatch(r"/me/cats/resolve/main/(.+)", self.path)
        if not found or found[1] not in self.files:
            self.send_error(404)
            return
        data = self.files[found[1]]
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, values: object) -> None:
        data = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    _Hub.files, _Hub.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield address
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["stremn-predict-mnist", "stremn-lite"])
def test_a_model_goes_to_the_hub_with_its_card_and_comes_back(hub: str, name: str) -> None:
    model = create_model(name, key_dim=8, value_dim=8, update_dim=8)
    told = "Trained on **our cats**, CC BY 4.0."
    assert push_to_hub(model, "me/cats", description=told, license="mit", token="secret") == f"{hub}/me/cats"
    assert {token for _, token in _Hub.asked} == {"Bearer secret"}
    card = huggingface_hub.ModelCard(_Hub.files["README.md"].decode())
    assert (card.data.library_name, card.data.license) == ("stremn", "mit")
    assert told in card.text
    assert '("hf:me/cats")' in card.text
    again = from_pretrained("hf:me/cats")
    assert again.config == model.config
    assert all(value.equal(again.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_card_claims_nothing_that_was_not_said() -> None:
    card = huggingface_hub.ModelCard(model_card(create_model("stremn-predict-mnist"), "me/cats"))
    assert card.data.license is None
    assert "not stated" in card.text


def test_a_hub_that_refuses_is_one_line(hub: str) -> None:
    with pytest.raises(StremnError, match=r"hf:me/dogs: cannot be uploaded \(.*check name, token") as caught:
        push_to_hub(create_model("stremn-predict-mnist"), "me/dogs", token="secret")
    assert "\n" not in str(caught.value)
