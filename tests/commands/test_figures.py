"""``stremn figures`` on small runs of ``stremn evaluate``: pictures show what was held and scored."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, Run, assert_complete_files_only, run
from PIL import Image

from small_data import write_davis, write_video
from stremn.files import read_mask
from stremn.tables.figures import best_and_worst

LENGTHS = {"early": 9, "late": 11, "short": 5}
YELLOW = (240, 230, 60)
"""Of object 1 in small videos."""


@pytest.fixture(scope="module")
def davis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Object 2 joins ``late`` at frame 3."""
    return write_davis(tmp_path_factory.mktemp("davis"), LENGTHS, joins={"late": 3})


@pytest.fixture(scope="module")
def masks(davis: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the memory keeps the newest: first, latest, and two frames before these."""
    out = tmp_path_factory.mktemp("run") / "masks"
    done = run(
        *("evaluate", davis, "--model", weights, "--size", 64, "--out", out),
        *("--policy", "oldest", "--slots", 4, "--candidate-every", 1),
    )
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def clips(predictor: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten clips of five frames, three observed."""
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "one.mp4", 50)
    done = run(
        *("evaluate", folder / "one.mp4", "--model", predictor, "--observe", 3, "--horizon", 2),
        *("--size", 32, "--out", folder / "run", "--json", folder / "report.json"),
    )
    assert done.status == 0, done.err
    return folder / "run"


def record_of(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_the_record_says_which_frame_sat_where(masks: Path) -> None:
    record = record_of(masks)
    assert record["settings"]["policy"] == "oldest"
    assert set(record["sequences"]) == set(record["memory"]) == set(LENGTHS)
    late = record["memory"]["late"]
    held = {
        key: [{int(f): i for f, i in slot.items()} for slot in slots] for key, slots in late["held"].items()
    }
    for key, joined in (("1", 0), ("2", 3)):
        first, latest, *chosen = held[key]
        assert first == {joined: joined}
        # Given in its first slot alone; afterwards the latest frame, and each in turn the frame before.
        assert latest == {joined: -1} | {t: t for t in range(joined + 1, 11)}
        entered = {t: i for slot in chosen for t, i in slot.items() if i >= 0}
        assert entered == {t: t - 1 for t in range(joined + 2, 11)}
    # Looked up in two slots from frame joined + 3 on, which hold frames of ages 2 and 3 (Sec. 4.3).
    assert late["ages"] == [0, 0, (11 - 3) + (11 - 6), (11 - 4) + (11 - 7)]


def test_pictures_of_a_run(masks: Path, tmp_path: Path) -> None:
    done = run("figures", masks, "--out", tmp_path)
    assert done.status == 0, done.err
    assert done.out == f"6 pictures; see {tmp_path}\n"
    names = ("ages", "best", "worst", *(f"memory-{name}" for name in LENGTHS))
    assert {p.name for p in tmp_path.iterdir()} == {f"{name}.png" for name in names}
    assert_complete_files_only(tmp_path)
    # Three sequences: two best, one worst.
    best, worst = (picture(tmp_path / f"{name}.png") for name in ("best", "worst"))
    assert best.shape[0] > 1.9 * worst.shape[0]
    assert run("figures", masks, "--sequences", "short, late").status == 0
    chosen = {p.name for p in (masks / "figures").iterdir()}
    assert chosen == {"ages.png", "sequences.png", "memory-short.png", "memory-late.png"}
    assert picture(masks / "figures" / "sequences.png").shape[0] == best.shape[0]


def test_frames_in_memory_are_those_that_were_held(masks: Path, tmp_path: Path) -> None:
    assert run("figures", masks, "--sequences", "early", "--out", tmp_path).status == 0
    # Below each other queries 2, 4, 6, 8; beside each other the query, and slots first, chosen 1, 2, latest.
    drawn = picture(tmp_path / "memory-early.png")
    height, gap, bar, width = 120, 4, 22, 180
    left = drawn.shape[1] - 5 * width - 4 * gap
    assert drawn.shape[0] == 4 * (height + bar) + 3 * gap
    for row, query in enumerate((2, 4, 6, 8)):
        top = row * (height + bar + gap) + bar
        shown = []
        for column in range(5):
            x = left + column * (width + gap)
            cell = drawn[top : top + height, x : x + width].astype(int)
            inside = (np.abs(cell - YELLOW).max(axis=2) < 40).nonzero()[1]
            # The square moves by two of 96 pixels a frame, of which 21 are its width.
            shown.append(round((inside.mean() * 96 / width - 4 - 10.5) / 2) if len(inside) else None)
        assert shown[0] == query
        assert shown[1] == 0
        assert shown[4] == query - 1
        assert {index for index in shown[2:4] if index is not None} == {
            index for index in (query - 2, query - 3) if index > 0
        }


def test_of_a_growing_memory_filled_slots_are_shown(davis: Path, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(
        *("evaluate", davis, "--model", weights, "--size", 64, "--out", out, "--sequences", "late"),
        *("--policy", "every-nth", "--candidate-every", 1),
    )
    assert done.status == 0, done.err
    slots = record_of(out)["memory"]["late"]["held"]["1"]
    assert len(slots) > 8
    assert run("figures", out).status == 0
    drawn = picture(out / "figures" / "memory-late.png")
    # Queries 2, 5, 8, 10: the query, the first frame, and all up to the one before it, nine cells at most.
    bottoms = [(number + 1) * (120 + 22 + 4) - 4 for number in range(4)]
    left = drawn.shape[1] - 9 * 180 - 8 * 4
    for bottom, cells in zip(bottoms, (3, 6, 9, 9)):
        paper = drawn[bottom - 60, left + 90 :: 184]
        assert [bool((pixel != 24).any()) for pixel in paper] == [True] * cells + [False] * (9 - cells)


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_best_and_worst(count: int) -> None:
    scores = {name: (name * 7 % count) / count for name in range(count)}
    best, worst = best_and_worst(scores)
    assert len(best) + len(worst) == min(count, 8)
    assert not set(best) & set(worst)
    assert [scores[name] for name in best] == sorted(scores.values(), reverse=True)[: len(best)]
    assert [scores[name] for name in worst] == sorted(scores.values())[: len(worst)]


def test_a_run_without_truth(davis: Path, weights: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "public", tmp_path / "run"
    shutil.copytree(davis, root)
    for path in sorted((root / "Annotations" / "480p").rglob("*.png")):
        if path.stem != "00000":
            path.unlink()
    done = run("evaluate", root, "--model", weights, "--size", 48, "--sequences", "early,short", "--out", out)
    assert done.status == 0, done.err
    done = run("figures", out)
    assert done.status == 0, done.err
    assert "has no scores" in done.out
    assert {p.name for p in (out / "figures").iterdir()} == {
        "ages.png",
        "memory-early.png",
        "memory-short.png",
    }


def test_frames_of_the_best_and_the_worst_clips(clips: Path, tmp_path: Path) -> None:
    record = record_of(clips)
    report = json.loads((clips.parent / "report.json").read_text())
    assert {name: record[name] for name in report} == report
    scores = {int(number): figures["ssim"] for number, figures in record["scores_of_clips"].items()}
    assert len(scores) == 10
    ranked = sorted(scores, key=lambda number: scores[number])
    assert record["kept"] == sorted(ranked[:4] + ranked[-4:])
    assert {p.name for p in clips.iterdir()} == {
        *("evaluation.json", *(f"{number:05d}" for number in record["kept"]))
    }
    assert report["rows"][0]["means"]["ssim"] == pytest.approx(np.mean([*scores.values()]))
    for number in record["kept"]:
        folder = clips / f"{number:05d}"
        predicted = {p.name: picture(p).astype(float) for p in (folder / "prediction").iterdir()}
        assert sorted(predicted) == ["00003.png", "00004.png"]
        errors = [
            ((frame - picture(folder / "truth" / name)) ** 2).mean() for name, frame in predicted.items()
        ]
        psnr = np.mean([10 * np.log10(255**2 / error) for error in errors])
        assert record["scores_of_clips"][str(number)]["psnr"] == pytest.approx(psnr, abs=1e-3)

    done = run("figures", clips, "--out", tmp_path)
    assert done.status == 0, done.err
    assert {p.name for p in tmp_path.iterdir()} == {"ages.png", "best.png", "worst.png"}
    # For each of four clips three rows, of cells of 160 pixels.
    best = picture(tmp_path / "best.png")
    assert best.shape[0] == 12 * 160 + 8 * 22 + 11 * 4


def refused(done: Run) -> str:
    assert done.status == BAD_INPUT
    assert done.err.count("\n") == 1, done.err
    return done.err.removeprefix("stremn: ").rstrip("\n")


def test_what_is_no_run(masks: Path, clips: Path, tmp_path: Path) -> None:
    assert refused(run("figures", tmp_path)) == (
        f"{tmp_path} has no evaluation.json: make it by 'stremn evaluate DATA --out {tmp_path}'"
    )
    (tmp_path / "evaluation.json").write_text("{")
    assert "evaluation.json is damaged" in refused(run("figures", tmp_path))
    (tmp_path / "evaluation.json").write_text('{"memory": {"a": {"images": 3}}}')
    assert "evaluation.json is damaged" in refused(run("figures", tmp_path))
    (tmp_path / "evaluation.json").write_text('{"rows": []}')
    assert "is not of a run" in refused(run("figures", tmp_path))
    assert refused(run("figures", masks, "--sequences", "early,never")).startswith(
        f"--sequences names 'never', which {masks} lacks: choose from early, late, short"
    )
    assert refused(run("figures", clips, "--sequences", "early")).startswith("--sequences cannot be given")
    assert not (clips / "figures").exists()


def test_data_that_moved(davis: Path, masks: Path, clips: Path, tmp_path: Path) -> None:
    copy = tmp_path / "masks"
    shutil.copytree(masks, copy)
    (copy / "late" / "00001.png").unlink()
    assert run("figures", copy, "--sequences", "early").status == 0
    assert refused(run("figures", copy)).startswith(f"mask {copy / 'late' / '00001.png'} does not exist")
    record = (copy / "evaluation.json").read_text()
    (copy / "evaluation.json").write_text(record.replace(str(davis.resolve()), str(tmp_path / "gone")))
    out = tmp_path / "out"
    assert refused(run("figures", copy, "--out", out)).startswith(str(tmp_path / "gone"))
    assert not out.exists()
    shutil.copytree(clips, tmp_path / "clips")
    kept = tmp_path / "clips" / f"{record_of(clips)['kept'][0]:05d}"
    shutil.rmtree(kept / "prediction")
    assert refused(run("figures", tmp_path / "clips")).startswith(f"{kept}: frames are missing")


def test_a_run_that_is_begun_again_has_no_record_of_the_one_before(
    davis: Path, masks: Path, weights: Path, tmp_path: Path
) -> None:
    copy, root = tmp_path / "masks", tmp_path / "davis"
    shutil.copytree(masks, copy)
    shutil.copytree(davis, root)
    (root / "JPEGImages" / "480p" / "short" / "00002.jpg").write_bytes(b"no image")
    done = run("evaluate", root, "--model", weights, "--size", 48, "--out", copy, "--overwrite")
    assert done.status == BAD_INPUT
    assert not (copy / "evaluation.json").exists()
    assert read_mask(copy / "early" / "00001.png", allow_empty=True).labels.shape == (64, 96)


def test_videos_too_short_to_fill_a_chosen_slot(weights: Path, tmp_path: Path) -> None:
    root, out = write_davis(tmp_path / "davis", {"one": 4, "two": 4}), tmp_path / "run"
    assert run("evaluate", root, "--model", weights, "--size", 48, "--out", out).status == 0
    done = run("figures", out)
    assert done.status == 0, done.err
    assert (out / "figures" / "ages.png").is_file()
