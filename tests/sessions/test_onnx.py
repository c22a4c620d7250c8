"""A graph in ONNX Runtime follows as a session of PyTorch does, and needs neither PyTorch nor OpenCV."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from small_data import RATE, frame, labels, write_first_mask, write_frames, write_video
from stremn import OnnxSession, SegmentationSession, StremnError
from stremn.commands import main

PAGE = Path(__file__).resolve().parents[2] / "examples" / "browser"

ALONE = """
import sys
for name in ("torch", "cv2", "av"):
    sys.modules[name] = None  # importing it raises ImportError
import numpy as np
from PIL import Image
from stremn import OnnxSession, StremnError
frames, mask = np.load(sys.argv[2]), Image.fromarray(np.load(sys.argv[3]))
session = OnnxSession(sys.argv[1], threads=1)
found = [session.step(frame, mask if i == 0 else None) for i, frame in enumerate(frames)]
np.save(sys.argv[4], np.stack([result.labels for result in found]))
assert found[-1].probabilities.shape == (2, 100, 150)
soft = Image.fromarray(np.asarray(mask) * 100).resize((50, 33), Image.Resampling.BICUBIC).resize((150, 100))
try:
    session.step(frames[0], soft)
except StremnError as error:
    assert "OpenCV" in str(error)
else:
    raise AssertionError("a mask that must be mended was taken")
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The step of ``stremn-lite`` for two objects, as the command writes it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / "step.onnx"
    args = ("onnx", path, "--frame", "96x64", "--size", 64, "--objects", 2)
    with (folder / "step.lock").open("w") as lock:  # so that it is written once for all workers
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert path.exists() or main([str(a) for a in args]) == 0
    return path


@pytest.fixture
def session(graph: Path) -> OnnxSession:
    return OnnxSession(graph, threads=1)


def test_labels_and_memory_are_those_of_a_session(session: OnnxSession) -> None:
    """Objects are given, given again, removed and join in the place of one that went."""
    other = SegmentationSession("stremn-lite", size=64, device="cpu", precision="fp32", search_region=False)
    equal, bytes_of_state = [], set()
    for index in range(16):
        ids, masks = labels(index), None
        if index == 0:
            masks = ids
        elif index == 6:
            session.remove([1, 9])
            other.remove([1, 9])
        elif index in (7, 8):
            masks = {30: ids == 1}
        found, expected = session.step(frame(index), masks), other.step(frame(index), masks)
        equal.append((found.labels == expected.labels).mean())
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.02)
        bytes_of_state.add(session.state_bytes)
        assert found.object_ids == expected.object_ids
        assert found.confidence == pytest.approx(expected.confidence, abs=0.02)
        assert found.lost == expected.lost
        assert session.frames_in_memory() == other.frames_in_memory()
    assert session.object_ids == (2, 30)
    assert np.mean(equal) > 0.999
    assert len(bytes_of_state) == 1


@pytest.mark.parametrize("size", [(100, 150), (48, 72)])
def test_frames_that_are_brought_to_the_internal_size(session: OnnxSession, size: tuple[int, int]) -> None:
    other = SegmentationSession("stremn-lite", size=64, device="cpu", precision="fp32", search_region=False)
    found = [each.step(frame(0, *size), labels(0, *size)) for each in (session, other)]
    for index in range(1, 5):
        found = [each.step(frame(index, *size)) for each in (session, other)]
        # OpenCV enlarges in fixed point: colours are a level apart, and a row of these frames has 72 pixels.
        assert (found[0].labels == found[1].labels).mean() > 0.998


def test_corrections_are_for_the_other_engine(session: OnnxSession) -> None:
    session.step(frame(0), labels(0))
    with pytest.raises(StremnError, match="follow with the torch engine"):
        session.correct(labels(0))


def test_numbers_of_lost_frames_are_left_out(session: OnnxSession) -> None:
    other = SegmentationSession("stremn-lite", size=64, device="cpu", precision="fp32", search_region=False)
    for index in (2, 3, 9, 10, 14):
        masks = labels(index) if index == 2 else None
        for each in (session, other):
            assert each.step(frame(index), masks, frame_index=index).frame_index == index
        assert session.frames_in_memory() == other.frames_in_memory()


def test_it_runs_where_torch_opencv_and_pyav_cannot_be_imported(
    graph: Path, session: OnnxSession, tmp_path: Path
) -> None:
    frames, mask = np.stack([frame(index, 100, 150) for index in range(3)]), labels(0, 100, 150)
    here = [session.step(image, mask if i == 0 else None).labels for i, image in enumerate(frames)]
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "mask.npy", mask)
    args = [graph, *(tmp_path / name for name in ("frames.npy", "mask.npy", "labels.npy"))]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, args)], check=True)
    assert (np.load(tmp_path / "labels.npy") == np.stack(here)).all()


def test_the_command_follows_by_a_graph(graph: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames", [f"{index:05d}.png" for index in range(3)])
    mask, out = write_first_mask(tmp_path / "first.png", (7, 200)), tmp_path / "out"
    args = ["segment", tmp_path / "frames", "--masks", mask, "--out", out, "--model", graph]
    assert main([str(a) for a in (*args, "--engine", "onnx")]) == 0
    assert len(list((out / "masks").iterdir())) == 3
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["engine"] == "onnx"
    assert settings["policy"] == "learned"


def test_the_file_says_nothing_of_the_machine(graph: Path) -> None:
    assert str(Path.home()).encode() not in graph.read_bytes()
    assert b"site-packages" not in graph.read_bytes()


def test_before_any_mask_there_are_no_objects(session: OnnxSession) -> None:
    assert session.step(frame(0)).object_ids == ()
    assert session.frames_in_memory() == {}
    assert session.step(frame(1), labels(1)).object_ids == (1, 2)


def test_what_does_not_fit_the_graph_is_refused_and_changes_nothing(session: OnnxSession) -> None:
    session.step(frame(0), labels(0))
    bad = [
        ({"frame": frame(1), "masks": {3: labels(1) == 1}}, "3 objects for a graph of 2: .* --objects 3"),
        ({"frame": frame(1, 48, 80)}, "frames before were 96x64"),
        ({"frame": frame(1), "frame_index": 0}, "must grow"),
    ]
    for arguments, said in bad:
        with pytest.raises(StremnError, match=said):
            session.step(**arguments)
    assert session.frame_index == 0
    assert session.object_ids == (1, 2)
    session.reset()
    with pytest.raises(StremnError, match=r"48 pixels for a graph of 96x64: .* --frame 64x48"):
        session.step(frame(0, 48, 64))


def test_the_page_follows_what_is_painted(graph: Path, tmp_path: Path) -> None:
    """All in the tab: the page's own rule refuses any other address."""
    if not (PAGE / "node_modules").is_dir():
        pytest.skip("ONNX Runtime for browsers is not there: npm install in examples/browser")
    for file in (*(PAGE / name for name in ("index.html", "follow.js", "node_modules")), graph):
        (tmp_path / file.name).symlink_to(file.resolve())
    write_video(tmp_path / "video.mp4", 4)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as play:
        Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        with play.chromium.launch(executable_path=found, args=flags) as browser:
            tab, faults = browser.new_page(), list[str]()
            tab.on("pageerror", lambda error: faults.append(str(error)))
            tab.goto(f"http://127.0.0.1:{server.server_port}")
            said, box = tab.locator("#said"), tab.locator("#drawing")
            expect(said).to_have_text("Choose a video.", timeout=120_000)
            tab.set_input_files("#file", tmp_path / "video.mp4")
            expect(said).to_have_text("Paint over the object.", timeout=60_000)
            tab.fill("#rate", f"{float(RATE):.4f}")
            rows, columns = (labels(0) == 1).nonzero()
            at = box.bounding_box()
            assert at is not None
            scale = at["width"] / 96
            tab.mouse.move(at["x"] + columns.mean() * scale, at["y"] + rows.mean() * scale)
            tab.mouse.down()
            for x in range(columns.min() + 2, columns.max() - 1, 2):
                for y in (rows.min() + 2, rows.max() - 2):
                    tab.mouse.move(at["x"] + x * scale, at["y"] + y * scale, steps=3)
            tab.mouse.up()
            tab.click("#follow")
            expect(said).to_contain_text("Frame 4 of 4", timeout=120_000)
            expect(said).to_contain_text("Done.", timeout=60_000)
            pixels = [frame["pixels"] for frame in tab.evaluate("window.found")]
        server.shutdown()
    assert not faults
    assert all(len(rows) / 2 < each < 3 * len(rows) for each in pixels[1:])


def test_what_is_no_graph_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StremnError, match="no such file"):
        OnnxSession(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(StremnError, match="ONNX Runtime cannot use it"):
        OnnxSession(tmp_path / "text.onnx")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("onnx", "step.onnx", "--frame", "480p"), "--frame 480p is not like 854x480"),
        (("onnx", "step.pt", "--frame", "96x64"), "step.pt is not named .onnx"),
        (("onnx", "none/step.onnx", "--frame", "96x64"), "make the folder"),
        (("onnx", "step.onnx", "--frame", "96x64", "--objects", "0"), "give a number from 1 to 255"),
        (("onnx", "step.onnx", "--frame", "96x64", "--policy", "random-drop"), "random-drop"),
        (("onnx", "there.onnx", "--frame", "96x64"), "there.onnx is there already"),
    ],
)
def test_what_no_graph_can_be_written_of(
    args: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").touch()
    assert main(list(args)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "onnx"), "runs a graph, and model 'stremn-lite' is none"),
        (("--engine", "tensorflow"), "choose torch or onnx"),
        (("--engine", "torch", "--model", "a.onnx"), "--engine torch cannot run a.onnx"),
        (("--model", "a.onnx", "--size", "64"), "--size cannot be changed in a.onnx"),
        (("--model", "a.onnx"), "a.onnx: no such file"),
    ],
)
def test_an_engine_that_cannot_run_the_model(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "frames", ["0.png"])
    mask = write_first_mask(tmp_path / "first.png")
    args = ["segment", tmp_path / "frames", "--masks", mask, "--out", tmp_path / "out", *options]
    assert main([str(a) for a in args]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
