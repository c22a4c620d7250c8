"""``stremn segment`` from end to end."""

import csv
import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from command_runs import (
    INTERRUPTED,
    Run,
    assert_complete_files_only,
    assert_refused,
    interrupt_at,
    read_masks,
    run,
    run_process,
    start,
)
from PIL import Image

from small_data import HEIGHT, RATE, WIDTH, decode, labels, write_frames, write_video
from stremn.files import open_source, write_mask
from stremn.memory import MemoryHistory
from stremn.sessions import SegmentationSession
from stremn.tables import plots

LONG = 800
"""Frames: ten seconds of work and more, of which the test waits for five frames."""

SUMMARY_KEYS = {
    *("frames", "lost_frames", "interrupted", "object_ids", "seconds", "frames_per_second", "state_bytes"),
    *("peak_memory_bytes", "versions", "settings", "objects"),
}


def test_a_video_as_a_process(weights: Path, video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    done = run_process("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 64)

    assert done.status == 0, done.err
    assert str(out) in done.out
    # Plain lines where there is no terminal: no escape sequence, no carriage return.
    assert done.err.splitlines()[-1].startswith("eight.mp4: 8/8 frames, ")
    assert "\x1b" not in done.err + done.out
    assert "\r" not in done.err

    masks = read_masks(out / "masks")
    assert list(masks) == [f"{i:05d}" for i in range(8)]
    assert {m.shape for m in masks.values()} == {(HEIGHT, WIDTH)}
    assert set(np.unique(np.stack(list(masks.values())))) <= {0, 7, 200}
    assert np.array_equal(masks["00000"], np.array([0, 7, 200])[labels(0)])

    frames, rate = decode(out / "overlay.mp4")
    assert len(frames) == 8
    assert rate == RATE
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    with Image.open(out / "memory.png") as plot:
        plot.load()
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary) == SUMMARY_KEYS
    assert summary["frames"] == 8
    assert summary["object_ids"] == [7, 200]
    assert summary["interrupted"] is False
    assert summary["frames_per_second"] == pytest.approx(8 / summary["seconds"], rel=0.01)
    assert summary["settings"]["size"] == 64
    names = {"masks", "overlay.mp4", "memory.png", "objects.csv", "summary.json"}
    assert {p.name for p in out.iterdir()} == names
    assert_table_and_summary_agree(out, masks)
    assert_complete_files_only(out)


def assert_table_and_summary_agree(out: Path, masks: dict[str, np.ndarray]) -> list[dict[str, str]]:
    """``objects.csv`` has a row for each frame and object, in order, and the summary says the same."""
    rows = list(csv.DictReader((out / "objects.csv").open(encoding="utf-8")))
    summary = json.loads((out / "summary.json").read_text())
    assert list(dict.fromkeys(row["name"] for row in rows)) == list(masks)
    for row in rows:
        assert int(row["pixels"]) == (masks[row["name"]] == int(row["object"])).sum()
        assert 0 <= float(row["confidence"]) <= 1
    for object_id, said in summary["objects"].items():
        mine = [row for row in rows if row["object"] == object_id]
        lost = [int(row["frame"]) for row in mine if row["lost"] == "1"]
        assert said["frames"] == len(mine)
        assert said["frames_lost"] == len(lost)
        assert said["mean_confidence"] == pytest.approx(
            np.mean([float(row["confidence"]) for row in mine]), abs=1e-3
        )
        assert [frame for first, last in said["lost"] for frame in range(first, last + 1)] == lost
    return rows


@pytest.mark.parametrize("kind", ["video", "folder"])
@pytest.mark.parametrize("both_ways", [False, True])
def test_from_any_frame_forward_or_both_ways(
    kind: str, both_ways: bool, weights: Path, video: Path, tmp_path: Path
) -> None:
    source = video if kind == "video" else write_frames(tmp_path / "frames", [f"f{i}.png" for i in range(8)])
    write_mask(tmp_path / "five.png", np.array([0, 7, 200], np.uint8)[labels(5)])
    args = ("segment", source, "--masks", tmp_path / "five.png", "--model", weights, "--size", 48)
    begin = 5 if kind == "video" else "f5"
    out = tmp_path / "out"
    done = run(*args, "--out", out, "--from", begin, *(["--both-ways"] if both_ways else []))
    assert done.status == 0, done.err
    masks = read_masks(out / "masks")
    indices = list(range(0 if both_ways else 5, 8))
    assert list(masks) == [f"{i:05d}" if kind == "video" else f"f{i}" for i in indices]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["frames"] == len(indices)
    assert (summary["settings"]["from"], summary["settings"]["both_ways"]) == (5, both_ways)
    assert len(decode(out / "overlay.mp4")[0]) == len(indices)
    rows = assert_table_and_summary_agree(out, masks)
    assert [int(row["frame"]) for row in rows[::2]] == indices
    # The same as a session that sees the frames in that order.
    with open_source(source) as frames:
        seen = list(frames)
    for order in ([5, 6, 7], [5, 4, 3, 2, 1, 0])[: 1 + both_ways]:
        session = SegmentationSession(weights, size=48)
        for place, index in enumerate(order):
            given = np.array([0, 7, 200], np.uint8)[labels(5)] if place == 0 else None
            found = session.step(seen[index].image, given).labels
            assert np.array_equal(found, list(masks.values())[indices.index(index)])


def test_masks_of_a_folder_join_on_the_way_back(weights: Path, video: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for index, ids in ((4, [0, 7, 0]), (2, [0, 0, 9]), (6, [0, 7, 0])):
        write_mask(given / f"{index:05d}.png", np.array(ids, np.uint8)[labels(index)])
    out = tmp_path / "out"
    done = run(
        *("segment", video, "--masks", given, "--out", out, "--model", weights, "--size", 48),
        *("--from", 4, "--both-ways"),
    )
    assert done.status == 0, done.err
    masks = read_masks(out / "masks")
    assert np.array_equal(masks["00004"], np.array([0, 7, 0])[labels(4)])
    assert (masks["00002"][labels(2) == 2] == 9).all()
    assert 9 not in masks["00003"]
    # The mask of an object that is followed already corrects it.
    assert np.array_equal(masks["00006"] == 7, labels(6) == 1)
    rows = assert_table_and_summary_agree(out, masks)
    assert {row["confidence"] for row in rows if (row["name"], row["object"]) == ("00006", "7")} == {"1.0000"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", 8), "eight.mp4 has no frame 8, or it cannot be decoded: choose another one"),
        (
            ("--from", 90, "--both-ways"),
            "eight.mp4 has no frame 90, or it cannot be decoded: choose another one",
        ),
        (
            ("--from", "x"),
            "--from x is no frame of eight.mp4: give its number from 0, or its name in a folder",
        ),
    ],
)
def test_a_frame_that_is_not_there_is_refused(
    options: tuple, message: str, weights: Path, video: Path, mask: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert_refused(
        run("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48, *options),
        message,
        out,
    )


def test_objects_that_join_later_in_a_folder_of_frames(weights: Path, tmp_path: Path) -> None:
    names = ["shot9.jpg", "shot10.png", "shot11.jpg", "shot12.jpg"]
    frames = write_frames(tmp_path / "frames", names)
    given = tmp_path / "masks"
    given.mkdir()
    write_mask(given / "shot9.png", np.array([0, 7, 0], np.uint8)[labels(0)])
    write_mask(given / "shot11.png", np.array([0, 0, 200], np.uint8)[labels(2)])
    out = tmp_path / "out"
    done = run("segment", frames, "--masks", given, "--out", out, "--model", weights, "--size", 64)

    assert done.status == 0, done.err
    masks = read_masks(out / "masks")
    assert set(masks) == {Path(n).stem for n in names}
    assert np.array_equal(masks["shot9"], np.array([0, 7, 0])[labels(0)])
    assert 200 not in masks["shot10"]
    assert (masks["shot11"][labels(2) == 2] == 200).all()
    assert json.loads((out / "summary.json").read_text())["object_ids"] == [7, 200]
    frames_drawn, rate = decode(out / "overlay.mp4")
    assert len(frames_drawn) == 4
    assert rate == 25


def test_every_option_reaches_the_session(weights: Path, video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = {"policy": "oldest", "slots": 3, "size": 48, "device": "cpu", "precision": "fp32"}
    chosen |= {"candidate_every": 2, "seed": 5}
    options = [x for key, value in chosen.items() for x in ("--" + key.replace("_", "-"), value)]
    options += ["--multi-scale", "--postprocess"]
    done = run("segment", video, "--masks", mask, "--out", out, "--model", weights, *options)
    assert done.status == 0, done.err
    settings = json.loads((out / "summary.json").read_text())["settings"]
    expected = chosen | {"multi_scale": True, "postprocess": True, "certainty": 0.0}
    expected |= {"model": str(weights), "source": str(video)}
    assert settings == expected | {"masks": str(mask), "from": 0, "both_ways": False}


def test_overwrite_replaces_earlier_outputs_and_nothing_else(
    weights: Path, video: Path, mask: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    write_mask(out / "masks" / "99999.png", labels(0))
    (out / "notes.txt").write_text("mine")
    args = ("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    refused = run(*args)
    assert refused.status == 2
    assert refused.err == f"stremn: output folder {out} is not empty: empty it, or set 'overwrite'\n"
    assert (out / "masks" / "99999.png").exists()
    assert run(*args, "--overwrite").status == 0
    assert set(read_masks(out / "masks")) == {f"{i:05d}" for i in range(8)}
    assert (out / "notes.txt").read_text() == "mine"


def assert_interrupted(done: Run, out: Path, number: int) -> int:
    """The files end with the same frame; how many frames there are."""
    assert done.status == 128 + number
    assert number != signal.SIGINT or done.status == INTERRUPTED
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1] == "stremn: interrupted; the files written so far are complete"
    assert_complete_files_only(out)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"] is True
    assert len(read_masks(out / "masks")) == len(decode(out / "overlay.mp4")[0]) == summary["frames"]
    return summary["frames"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(
    number: int, weights: Path, video: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(5, monkeypatch, number)
    out = tmp_path / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert assert_interrupted(done, out, number) == 5


def test_interrupted_as_a_process(weights: Path, mask: Path, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "long.mp4", LONG), tmp_path / "out"
    process = start("segment", source, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    patience = time.monotonic() + 300
    while not (out / "masks" / "00004.png").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=300)
    assert 5 <= assert_interrupted(Run(process.returncode, *said), out, signal.SIGINT) < LONG


def test_a_lost_frame_keeps_its_number_in_memory_too(
    weights: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of the masks and the frames of ``memory.png`` count alike."""
    drawn: list[MemoryHistory] = []
    monkeypatch.setattr(plots, "plot_memory", lambda history, path: drawn.append(history))
    names = [f"{index:05d}" for index in range(6)]
    source, out = write_frames(tmp_path / "frames", [f"{name}.png" for name in names]), tmp_path / "out"
    (source / "00002.png").write_text("damaged")
    done = run("segment", source, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert done.status == 0, done.err
    kept = [name for name in names if name != "00002"]
    assert list(read_masks(out / "masks")) == kept
    assert json.loads((out / "summary.json").read_text())["lost_frames"] == 1
    for moments in drawn[0].moments.values():
        assert [index for index, _ in moments] == [int(name) for name in kept]
        for index, held in moments:
            assert {0, index} <= set(held) <= {-1, 0, 1, 3, 4, 5}, "the first frame and the latest are there"


@pytest.mark.parametrize("name", ["00000_mask.png", "mask.png", "first.tif"])
def test_the_mask_is_no_frame(name: str, weights: Path, mask: Path, tmp_path: Path) -> None:
    source, out = write_frames(tmp_path / "frames", ["00000.jpg", "00001.jpg"]), tmp_path / "out"
    with Image.open(mask) as image:
        image.save(source / name)
    done = run("segment", source, "--masks", source / name, "--out", out, "--model", weights, "--size", 48)
    assert done.status == 0, done.err
    assert list(read_masks(out / "masks")) == ["00000", "00001"]
