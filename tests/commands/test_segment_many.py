"""``stremn segment-many``: nothing is lost and nothing done twice, whoever is killed."""

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
from command_runs import BAD_INPUT, assert_complete_files_only, assert_refused, read_masks, run, start

from small_data import write_first_mask, write_video
from stremn import from_pretrained, save_pretrained
from stremn.commands import corpus_engines

FRAMES = {"a": 8, "b": 16, "c": 12, "d": 10, "e": 14, "f": 9}
LONGEST_FIRST = "becdfa"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six videos, beside each its mask."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, frames in FRAMES.items():
        write_video(folder / f"{name}.mp4", frames)
        write_first_mask(folder / f"{name}.png", (7, 200))
    return folder


def args(listing: Path, out: Path, weights: Path, *more: object) -> tuple[object, ...]:
    return ("segment-many", listing, "--out", out, "--model", weights, "--size", 48, "--device", "cpu", *more)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Of each finished video what changes when it is done again."""
    summaries = sorted(out.glob("*/summary.json"))
    found = [path.stat() for path in summaries]
    return {path.parent.name: (stat.st_ino, stat.st_mtime_ns) for path, stat in zip(summaries, found)}


def at_work(out: Path) -> int:
    """How many videos have masks, but are not finished."""
    return len({path.parent for path in out.glob(".*/masks/*.png")})


def wait_for(condition: Callable[[], object]) -> None:
    patience = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "videos.csv").open(newline="") as file:
        return {row["video"]: row for row in csv.DictReader(file)}


def assert_all_done(out: Path) -> None:
    assert {name: row["result"] for name, row in rows(out).items()} == dict.fromkeys(FRAMES, "done")
    for name, frames in FRAMES.items():
        assert len(read_masks(out / name / "masks")) == frames
        assert json.loads((out / name / "summary.json").read_text())["frames"] == frames
        assert_complete_files_only(out / name)
    assert not list(out.glob(".*part"))


def test_killed_and_run_again(corpus: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*args(corpus, out, weights, "--workers", 1))
    main = psutil.Process(process.pid)

    def worker() -> psutil.Process:
        return next(child for child in main.children() if "spawn_main" in " ".join(child.cmdline()))

    wait_for(lambda: len(finished(out)) >= 1 and at_work(out))
    before = finished(out)
    # A worker that is killed is replaced, and its video begun again.
    worker().kill()
    wait_for(lambda: len(finished(out)) >= 3 and at_work(out))
    assert "".join(sorted(finished(out), key=LONGEST_FIRST.index)) == LONGEST_FIRST[: len(finished(out))]
    last = worker()
    process.kill()
    process.communicate()
    last.wait(60)
    then = finished(out)
    assert before.items() <= then.items()
    assert len(then) < len(FRAMES)

    done = run(*args(corpus, out, weights, "--workers", 1))
    assert done.status == 0, done.err
    assert f"{len(then)} of 6 videos were done before" in done.err
    assert "6 of 6 videos done, 69 frames" in done.out
    assert then.items() <= finished(out).items()
    assert_all_done(out)
    # The same as the command for one video.
    one = ("--masks", corpus / "e.png", "--out", tmp_path / "one", "--model", weights, "--size", 48)
    assert run("segment", corpus / "e.mp4", *one, "--device", "cpu").status == 0
    single, many = (read_masks(folder / "masks") for folder in (tmp_path / "one", out / "e"))
    assert all(np.array_equal(single[name], many[name]) for name in single)

    # Whoever gives other settings would get a mixture.
    other = run(*args(corpus, out, weights, "--slots", 3))
    assert (other.status, other.out) == (BAD_INPUT, "")
    assert f"{out} was begun without --slots: do the same now, or choose another folder" in other.err


def test_broken_videos_are_listed_and_the_others_done(
    corpus: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Slurm's place here is that executor of submitit which runs jobs in this process."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text("")
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(corpus_engines, "SLURM", "debug")
    for name in ("a", "d"):
        for suffix in (".mp4", ".png"):
            shutil.copy(corpus / f"{name}{suffix}", tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "list.csv").write_text(
        "video,masks,name\na.mp4,a.png,\nbroken.mp4,a.png,\nd.mp4,none.png,\nd.mp4,d.png,good\n"
    )
    out = tmp_path / "out"
    command = args(tmp_path / "list.csv", out, weights, "--engine", "slurm")
    done = run(*command, "--workers", 2, "--slurm", "time=5")
    assert done.status == BAD_INPUT
    assert done.err.endswith("stremn: 2 of 4 videos failed: mend them, and give the command again\n")
    found = rows(out)
    assert {name: row["result"] for name, row in found.items()} == {
        **{"a": "done", "good": "done"},
        **{"broken": "failed", "d": "failed"},
    }
    assert (found["a"]["frames"], found["a"]["objects"]) == ("8", "2")
    assert "none.png does not exist" in found["d"]["error"]
    for name in ("broken", "d"):
        assert f"{name}: {found[name]['error']}\n" in done.err
        assert not (out / name).exists()
    before = finished(out)
    shutil.copy(corpus / "b.mp4", tmp_path / "broken.mp4")
    shutil.copy(corpus / "d.png", tmp_path / "none.png")
    done = run(*command)
    assert done.status == 0, done.err
    assert before.items() <= finished(out).items()
    assert {row["result"] for row in rows(out).values()} == {"done"}


def test_a_node_of_a_ray_cluster_is_killed(
    corpus: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    out = tmp_path / "out"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    killed: list[dict[str, tuple[int, int]]] = []

    def kill() -> None:
        wait_for(lambda: at_work(out) == 2)
        killed.append(finished(out))
        cluster.remove_node(node, allow_graceful=False)

    try:
        node = cluster.add_node(num_cpus=1)
        killer = Thread(target=kill)
        killer.start()
        done = run(*args(corpus, out, weights, "--engine", "ray", "--address", cluster.address))
        killer.join()
    finally:
        cluster.shutdown()
    assert done.status == 0, done.err
    assert killed[0].items() <= finished(out).items()
    assert_all_done(out)


def test_interrupted(corpus: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(*args(corpus, out, weights, "--workers", 1))
    wait_for(lambda: at_work(out))
    process.send_signal(signal.SIGTERM)
    printed, err = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert f"see {out / 'videos.csv'}" in printed
    assert {row["result"] for row in rows(out).values()} <= {"done", "not done"}
    assert not list(out.glob(".*part"))


def test_nothing_of_something_else_is_replaced_or_taken_for_it(
    corpus: Path, weights: Path, tmp_path: Path
) -> None:
    out, listing, own = tmp_path / "out", tmp_path / "list.csv", tmp_path / "own.safetensors"
    shutil.copy(weights, own)
    listing.write_text(f"video,masks,name\n{corpus / 'a.mp4'},{corpus / 'a.png'},one\n")
    assert run(*args(listing, out, own, "--workers", 1)).status == 0

    def refused(listing: Path, out: Path) -> str:
        before = {path: path.read_bytes() for path in sorted(out.rglob("*.*")) if path.suffix != ".lock"}
        done = run(*args(listing, out, own, "--workers", 1))
        assert (done.status, done.err.count("\n")) == (BAD_INPUT, 1)
        assert {path: path.read_bytes() for path in before} == before
        return done.err

    save_pretrained(from_pretrained(weights).half(), own)
    assert "was begun with other weights than" in refused(listing, out)
    shutil.copy(weights, own)
    listing.write_text(f"video,masks,name\n{corpus / 'b.mp4'},{corpus / 'a.png'},one\n")
    assert f"one was made of {corpus / 'a.mp4'}, not {corpus / 'b.mp4'}" in refused(listing, out)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(listing, home / "videos.csv")
    assert "lies where the results go" in refused(home / "videos.csv", home)
    assert "of something else" in refused(listing, home)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "dask"), "unknown engine 'dask': choose one of local, ray, slurm"),
        (("--address", "x:1"), "--address is for --engine ray: give that, or leave it out"),
        (("--slurm", "time=1"), "--slurm is for --engine slurm: give that, or leave it out"),
        (
            ("--engine", "slurm"),
            "--engine slurm: there is no sbatch here: run this where Slurm is, or choose local or ray",
        ),
        (("--slots", 1), "--slots 1 is too few: at least 2, for the first and for the latest frame"),
    ],
)
def test_refused(
    options: tuple, message: str, corpus: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    assert_refused(run(*args(corpus, out, weights, *options)), message, out)
