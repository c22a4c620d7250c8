"""``stremn evaluate``, ``table 5`` and ``ablate`` with prediction models on small data."""

import json
import signal
from pathlib import Path

import pytest
import torch
from command_runs import BAD_INPUT, INTERRUPTED, assert_complete_files_only, run

from small_data import write_davis, write_digits, write_video
from stremn import create_model, save_pretrained
from stremn.models import Predictor
from stremn.models.slot_predictor import MemoryPredictor

SMALL = ("--observe", 3, "--horizon", 2, "--size", 32)
NOWHERE = ("--model", "none.safetensors")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits") / "images-idx3-ubyte")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of random weights by name; those of ``grey`` lie in the folder of a training run."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    narrow = {"widths": (8,) * 6, "key_dim": 8, "value_dim": 8, "update_dim": 8}
    made: dict[str, Predictor] = {
        "grey": create_model("stremn-predict-mnist", **narrow),
        "colour": create_model("stremn-motion", width=4, key_dim=8, update_dim=8),
        "lstm": create_model("convlstm-small", hidden=(4,)),
    }
    (folder / "grey").mkdir()
    (folder / "grey" / "run.json").write_text(json.dumps({"device": "cpu"}))
    (folder / "grey" / "log.jsonl").write_text(json.dumps({"step": 30, "seconds": 61.0}) + "\n")
    return {name: save_pretrained(model, folder / name) for name, model in made.items()}


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_evaluate_on_digits(digits: Path, models: dict[str, Path], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ("evaluate", digits, "--model", models["grey"], *SMALL, "--digits", "30-", "--clips", 3)
    done = run(*arguments, "--json", report)
    assert done.status == 0, done.err
    assert "3 clips of 32x32, grey, 3 frames to 2" in done.out
    assert "copy last frame" in done.out
    assert "optical flow" in done.out
    assert "worst clip: PSNR against copying" in done.out
    data = read(report)
    ours, copied, moved = data["rows"]
    assert set(ours["means"]) == {"mse", "mae", "mse_pixel", "mae_pixel", "psnr", "ssim"}
    assert [len(row["runs"][0]["score"]["curves"]["mse"]) for row in (ours, copied, moved)] == [2, 2, 2]
    assert ours["means"]["mse"] == pytest.approx(ours["means"]["mse_pixel"] * 32**2)
    assert ours["training"]["steps"] == 30
    assert {"commit", "command", "machine", "date", "versions", "weights_sha256"} <= set(data)
    assert data["clips"]["digits"] == [30, 40]
    assert data["clips"]["count"] == 3

    assert run(*arguments, "--json", report, "--policy", "random-drop", "--slots", 1, "--seed", 1).status == 0
    trial = read(report)["rows"][0]["runs"][0]["settings"]
    assert (trial["policy"], trial["slots"], trial["seed"]) == ("random-drop", 1, 1)


def test_lpips_with_a_file_of_weights(digits: Path, models: dict[str, Path], tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    features = torchvision.models.alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in features.items()}, tmp_path / "alexnet.pth")
    report = tmp_path / "report.json"
    done = run(
        *("evaluate", digits, "--model", models["lstm"], "--digits", "0-", "--clips", 1),
        *("--observe", 1, "--horizon", 1, "--lpips", tmp_path / "alexnet.pth", "--json", report),
    )
    assert done.status == 0, done.err
    assert "LPIPS" in done.out
    assert all(row["means"]["lpips"] > 0 for row in read(report)["rows"])


def test_evaluate_on_videos_of_several_places(models: dict[str, Path], tmp_path: Path) -> None:
    root = write_davis(tmp_path / "davis", {"one": 5, "two": 6})
    (tmp_path / "names.txt").write_text("two\n")
    write_video(tmp_path / "clip.mp4", 10)
    data = (f"{root}:{tmp_path / 'names.txt'}", tmp_path / "clip.mp4")
    done = run("evaluate", *data, "--model", models["colour"], *SMALL, "--json", tmp_path / "all.json")
    assert done.status == 0, done.err
    assert "2 videos (two, clip), 3 clips of 32x32, colour" in done.out
    assert [video[0] for video in read(tmp_path / "all.json")["clips"]["videos"]] == ["two", "clip"]
    done = run("evaluate", *data, "--model", models["lstm"], *SMALL, "--sequences", "clip")
    assert "1 videos (clip), 2 clips of 32x32, grey" in done.out


def test_kth_names_the_conventions(models: dict[str, Path], tmp_path: Path) -> None:
    for person in range(17, 26):
        write_video(tmp_path / f"person{person}_walking_d1.avi", 5 if person == 20 else 3)
    done = run("evaluate", f"kth:{tmp_path}", "--model", models["lstm"], *SMALL)
    assert done.status == 0, done.err
    for words in ("PSNR (PredRNN)", "SSIM (OpenSTL)", "predrnn: frames cut to 8 bits", "simvp: "):
        assert words in done.out


def test_table_5(digits: Path, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = ("--model", f"STReMN={models['grey']}", "--model", f"ConvLSTM={models['lstm']}")
    arguments = ("table", 5, digits, *rows, *SMALL, "--digits", "0-39", "--out", out, "--clips", 4)
    done = run(*arguments, "--trained", "ConvLSTM=30 steps, by hand")
    assert done.status == 0, done.err
    # The paper's figures, and where they are from; the run beside the weights; what was said by hand.
    for words in ("37.89", "Human3.6M", "103.3", "not measured", "30 steps, 1 min", "30 steps, by hand"):
        assert words in done.out
    assert_complete_files_only(out)
    assert {p.name for p in out.iterdir()} == {"results.jsonl", "table5.json", "table5.png"}
    data = read(out / "table5.json")
    assert [row["name"] for row in data["rows"]] == ["copy last frame", "optical flow", "STReMN", "ConvLSTM"]
    assert data["rows"][2]["training"] == {"steps": 30, "seconds": 61.0, "device": "cpu"}
    assert data["paper"]["STReMN"]["mse"] == 37.89
    assert data["published"]["mse"]["TAU"] == 19.8
    digests = [row["weights_sha256"] for row in data["rows"]]
    assert digests[:2] == [None, None]
    assert len(set(digests)) == 3
    assert data["frames_of_this_run"] == 4 * 4 * 2

    # A row more runs only that row, and what is copied is not a model's.
    again = run(*arguments, "--model", f"same={models['grey']}")
    assert again.status == 0, again.err
    assert read(out / "table5.json")["frames_of_this_run"] == 0
    more = read(out / "table5.json")["rows"]
    assert more[4]["means"] == more[2]["means"] == data["rows"][2]["means"]


def test_table_5_in_the_units_of_the_paper(models: dict[str, Path], tmp_path: Path) -> None:
    for subject in (9, 11):
        (tmp_path / f"S{subject}" / "Videos").mkdir(parents=True)
        write_video(tmp_path / f"S{subject}" / "Videos" / "Walking.54138969.mp4", 36)
    data, rows = f"human36m:{tmp_path}", ("--model", f"STReMN={models['colour']}")
    done = run("table", 5, data, *rows, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    row = read(tmp_path / "out" / "table5.json")["rows"][2]
    assert row["paper"] == {"mse": 378.9, "mae": 1404.0, "ssim": 0.906}
    ours = row["means"]["mse"] / 10, row["means"]["mae"] / 100, row["means"]["ssim"]
    lines = done.out.splitlines()
    headings = next(line.split() for line in lines if "MSE/10" in line)
    assert headings == ["MSE/10", "MAE/100", "SSIM", "paper", "MSE/10", "MAE/100", "SSIM", "trained"]
    printed = next(line.split() for line in lines if line.strip().startswith("STReMN"))
    assert printed[1:7] == [f"{ours[0]:.2f}", f"{ours[1]:.2f}", f"{ours[2]:.4f}", "37.89", "14.04", "0.906"]
    copied = next(line.split() for line in lines if line.strip().startswith("copy"))
    assert copied[6:9] == ["-", "-", "-"]
    # What is a sum over other pixels is not set beside the paper's.
    done = run("table", 5, data, *rows, "--size", 32, "--out", tmp_path / "small")
    assert done.status == 0, done.err
    assert read(tmp_path / "small" / "table5.json")["rows"][2]["paper"] is None
    assert "paper MSE/10" not in done.out


def test_table_5_of_kth_is_compared_as_predrnn_is(models: dict[str, Path], tmp_path: Path) -> None:
    for person in range(17, 26):
        write_video(tmp_path / f"person{person}_walking_d1.avi", 31 if person == 20 else 3)
    arguments = ("--model", f"PredRNN={models['lstm']}", "--clips", 1, "--out", tmp_path / "out")
    done = run("table", 5, f"kth:{tmp_path}", *arguments)
    assert done.status == 0, done.err
    row = read(tmp_path / "out" / "table5.json")["rows"][2]
    assert row["paper"] == {"psnr_predrnn": 27.55, "ssim_predrnn": 0.839, "lpips_predrnn": 0.204}
    assert "paper PSNR (PredRNN)" in done.out


def test_an_interrupted_table_goes_on(
    digits: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("ablate", "slots", digits, "--model", models["grey"], *SMALL, "--digits", "0-", "--clips", 2)
    predict, count = MemoryPredictor.predict, 0

    def interrupted(model: MemoryPredictor, *given: object) -> object:
        nonlocal count
        count += 1
        if count == 11:
            signal.raise_signal(signal.SIGINT)
        return predict(model, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryPredictor, "predict", interrupted)
    done = run(*arguments, "--out", tmp_path / "out")
    assert done.status == INTERRUPTED
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 4
    assert not (tmp_path / "out" / "predict-slots.json").exists()
    count = 1000
    assert run(*arguments, "--out", tmp_path / "out").status == 0
    assert count == 1000 + 6 * 4
    assert run(*arguments, "--out", tmp_path / "whole").status == 0
    rows = [read(tmp_path / folder / "predict-slots.json")["rows"] for folder in ("out", "whole")]
    assert rows[0] == rows[1]
    assert [row["name"] for row in rows[0][2:]] == [*(f"K = {k}" for k in range(1, 8)), "readout set to zero"]


def test_policies_by_either_command(digits: Path, models: dict[str, Path], tmp_path: Path) -> None:
    options = ("--model", models["grey"], *SMALL, "--digits", "0-", "--clips", 2, "--slots", 2, "--seeds", 2)
    done = run("ablate", "policies", digits, *options, "--out", tmp_path)
    assert done.status == 0, done.err
    assert "nothing was trained for a row" in done.out
    assert "(A) remove oldest" in done.out
    assert "K = 2" in done.out
    assert_complete_files_only(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        *("results.jsonl", "predict-policies.json", "predict-policies.png", "predict-policies-ages.png")
    }
    data = read(tmp_path / "predict-policies.json")
    assert [len(row["runs"]) for row in data["rows"]] == [1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1]
    unread = data["rows"][-1]
    assert unread["name"] == "readout set to zero"
    assert unread["runs"][0]["settings"]["readout"] is False
    assert unread["ages"] == []
    other = run("table", 1, digits, *options, "--out", tmp_path)
    assert other.status == 0, other.err
    assert read(tmp_path / "predict-policies.json")["frames_of_this_run"] == 0
    assert other.out.splitlines()[:-1] == done.out.splitlines()[:-1]


def test_clips_to_be_remembered(models: dict[str, Path], tmp_path: Path) -> None:
    arguments = ("memory:3", "--model", models["colour"], "--size", 16, "--clips", 2)
    done = run("ablate", "slots", *arguments, "--out", tmp_path / "out")
    assert done.status == 0, done.err
    assert "2 clips of 16x16, colour, 30 frames to 10" in done.out
    assert read(tmp_path / "out" / "predict-slots.json")["clips"]["data"] == ["memory:3"]
    done = run("evaluate", *arguments, "--sequences", "panning", "--observe", 3, "--horizon", 2)
    assert "seed 3 (panning), 2 clips" in done.out
    assert refused("evaluate", "memory:", "--model", models["colour"]).startswith("memory:: has no seed")


def refused(*arguments: object) -> str:
    done = run(*arguments)
    assert done.status == BAD_INPUT
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    return done.err.removeprefix("stremn: ").rstrip("\n")


def test_options_of_the_other_task_are_refused(
    digits: Path, models: dict[str, Path], weights: Path, tmp_path: Path
) -> None:
    evaluate = ("evaluate", digits, "--model", models["grey"])
    for option in (("--postprocess",), ("--candidate-every", 2), ("--split", digits)):
        assert refused(*evaluate, *option).startswith(f"{option[0]} cannot be given with '{models['grey']}'")
    assert refused("evaluate", digits, "--model", weights, "--horizon", 3).startswith(
        f"--horizon is of prediction, and '{weights}' segments"
    )
    assert refused("evaluate", digits, *NOWHERE, "--horizon", 3).startswith(
        "unknown model 'none.safetensors'"
    )
    out = ("--out", tmp_path / "out")
    assert refused("table", 3, digits, "--model", models["grey"], *out).startswith(
        "table 3 is of segmentation"
    )
    assert refused("table", 1, digits, "--model", models["lstm"], *out).startswith(
        f"'{models['lstm']}' has no memory slots to compare"
    )
    assert refused("ablate", "slots", digits, "--model", models["grey"], "--long", 30, *out).startswith(
        "--long"
    )
    assert refused("table", 2, digits, "--model", models["grey"], "--slots", 3, *out).startswith("--slots")
    assert refused("table", 5, digits, "--model", models["grey"], "--policy", "oldest", *out).startswith(
        "--policy cannot be given with table 5"
    )
    assert not (tmp_path / "out").exists()


def test_bad_input_names_the_remedy(
    digits: Path, models: dict[str, Path], weights: Path, tmp_path: Path
) -> None:
    grey, evaluate = models["grey"], ("evaluate", digits, "--model", models["grey"])
    few = f"{digits}: has 40 whole digits, not from 8000 on; choose others, or give a whole file"
    assert refused(*evaluate) == few
    assert refused(*evaluate, "--digits", "9-3").startswith("--digits 9-3 is no range")
    assert "--size 34 is not divisible by 4" in refused(*evaluate, "--digits", "0-", "--size", 34)
    assert refused(*evaluate, "--size", 0).startswith("--size 0 is not possible")
    assert refused(*evaluate, "--policy", "never").startswith("unknown policy 'never'")
    assert refused(*evaluate, "--slots", 0).startswith("slots must be a whole number at least 1")
    assert refused(*evaluate, "--digits", "0-", "--clips", 1, "--lpips", tmp_path / "none").startswith(
        f"{tmp_path / 'none'}: cannot be read as weights"
    )
    assert "no trained weights ship" in refused("evaluate", digits, "--model", "predrnn-small")
    table = ("table", 5, digits, "--out", tmp_path / "out")
    assert refused(*table).startswith("table 5 needs --model label=FILE")
    assert refused(*table, "--model", f"a={grey}", "--model", f"a={grey}").startswith(
        "--model gives 'a' twice"
    )
    assert refused(*table, "--model", f"a={weights}").endswith("a prediction model to predict")
    assert refused(*table, "--model", f"a={grey}", "--trained", "b=x").startswith("--trained names 'b'")
    both = refused(*table, "--model", f"a={grey}", "--model", f"b={models['colour']}")
    assert both.startswith("'a' is for grey frames and 'b' for colour")
    assert refused("ablate", "slots", digits, "--model", grey, "--model", grey, *table[3:]).startswith(
        f"--model {grey} is one too many"
    )
    write_video(tmp_path / "short.mp4", 4)
    assert "no video has 15 frames" in refused("evaluate", tmp_path / "short.mp4", "--model", grey)
    assert not (tmp_path / "out").exists()
