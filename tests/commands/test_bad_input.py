"""Bad input (section 6 of the issue): one line that names file and remedy, status 2, nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command_runs import BAD_INPUT, Run, assert_complete_files_only, run, run_process
from PIL import Image
from safetensors.torch import save_file

from small_data import frame, labels, write_first_mask, write_frames, write_video
from stremn.commands import options
from stremn.files import write_mask
from stremn.models import model_names

NOWHERE = "no-such-weights.safetensors"
"""Errors that come before this one was noticed came before the model was loaded."""


def assert_refused(done: Run, message: str, out: Path) -> None:
    assert done.err == f"stremn: {message}\n"
    assert done.status == BAD_INPUT
    assert done.out == ""
    assert not out.exists()


# Sources -----------------------------------------------------------------------------------------------


def _missing(tmp: Path) -> tuple[Path, str]:
    path = tmp / "none.mp4"
    return path, f"source '{path}' does not exist: give a video file, a folder of frames, or camera:0"


def _empty_file(tmp: Path) -> tuple[Path, str]:
    path = tmp / "empty.mp4"
    path.touch()
    return path, f"{path} is empty: give a video file, or a folder of frames"


def _empty_folder(tmp: Path) -> tuple[Path, str]:
    path = tmp / "frames"
    path.mkdir()
    return path, f"folder {path} is empty: give a folder of JPEG or PNG frames, or a video file"


def _folder_of_texts(tmp: Path) -> tuple[Path, str]:
    path = tmp / "frames"
    path.mkdir()
    (path / "readme.txt").write_text("no frames here")
    return path, f"folder {path} holds no image: give a folder of JPEG or PNG frames, or a video file"


def _still(tmp: Path) -> tuple[Path, str]:
    path = tmp / "still.png"
    Image.fromarray(frame(0)).save(path)
    return path, f"{path} is a still image: give a video file, or the folder of frames"


@pytest.mark.parametrize("make", [_missing, _empty_file, _empty_folder, _folder_of_texts, _still])
def test_source(make: Callable[[Path], tuple[Path, str]], mask: Path, tmp_path: Path) -> None:
    source, message = make(tmp_path)
    out = tmp_path / "out"
    done = run("segment", source, "--masks", mask, "--out", out, "--model", NOWHERE)
    assert_refused(done, message, out)


def test_not_a_video_as_a_process(mask: Path, tmp_path: Path) -> None:
    # As a process, so that lines printed by libraries in C would show.
    source, out = tmp_path / "text.mp4", tmp_path / "out"
    source.write_text("this is a text file with a wrong name\n" * 50)
    done = run_process("segment", source, "--masks", mask, "--out", out, "--model", NOWHERE)
    message = (
        f"{source} is not a video, or is cut off before its index: give a video file, or a folder of frames"
    )
    assert_refused(done, message, out)


def test_frame_size_changes(weights: Path, mask: Path, tmp_path: Path) -> None:
    source, out = write_frames(tmp_path / "frames", ["1.png", "2.png", "3.png"]), tmp_path / "out"
    Image.fromarray(frame(2, 48, 80)).save(source / "3.png")
    done = run("segment", source, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert done.status == BAD_INPUT
    assert done.err.splitlines()[-1] == (
        "stremn: frame 3 of frames is 80x48, frame 1 is 96x64: scale all frames to one size, "
        "or split the source there"
    )
    assert_complete_files_only(out)


def test_damaged_in_the_middle(weights: Path, mask: Path, tmp_path: Path) -> None:
    source, out = write_video(tmp_path / "hurt.mp4", 30, g="5", bf="0"), tmp_path / "out"
    data = bytearray(source.read_bytes())
    middle = slice(len(data) * 4 // 10, len(data) * 5 // 10)
    data[middle] = np.random.default_rng(1).bytes(middle.stop - middle.start)
    source.write_bytes(data)
    done = run("segment", source, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert done.status == 0, done.err
    said = [line for line in done.err.splitlines() if line.startswith("warning: hurt.mp4: ")]
    assert len(said) == 1
    lost = int(said[0].split()[2])
    written = len(list((out / "masks").iterdir()))
    assert lost > 0
    assert lost + written == 30
    assert said[0].endswith("frames could not be decoded and are left out")


# Masks -------------------------------------------------------------------------------------------------


def _mask_missing(path: Path) -> str:
    return f"mask {path} does not exist: give an image file, or a folder of them"


def _mask_of_another_size(path: Path) -> str:
    write_mask(path, labels(0, 32, 48))
    return (
        f"mask {path} is 48x32, the frames are 96x64: "
        "scale the mask to the frames without interpolation (nearest neighbour)"
    )


def _mask_without_objects(path: Path) -> str:
    write_mask(path, np.zeros((64, 96), np.uint8))
    return f"mask {path} holds no object: mark each object with an id from 1 to 255"


def _mask_of_300_ids(path: Path) -> str:
    Image.fromarray((np.arange(64 * 96).reshape(64, 96) // 20).astype(np.uint16)).save(path)
    ids = (64 * 96 - 1) // 20 + 1
    return f"mask {path} holds {ids} ids, ids go from 1 to 255: renumber the objects, or keep fewer"


def _mask_is_no_image(path: Path) -> str:
    path.write_text("not an image")
    return f"mask {path} is not a readable image: give a palette or grey PNG whose pixels are object ids"


def _mask_is_a_photograph(path: Path) -> str:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(path)
    return (
        f"{path} looks like a photograph, not a mask: give a palette or grey PNG whose pixels are object ids"
    )


def _folder_without_matching_names(path: Path) -> str:
    path.mkdir()
    write_mask(path / "first.png", labels(0))
    return f"no mask in {path} is named like a frame: masks are first; frames are 00000, 00001, 00002"


@pytest.mark.parametrize(
    "make",
    [
        *(_mask_missing, _mask_of_another_size, _mask_without_objects, _mask_of_300_ids),
        *(_mask_is_no_image, _mask_is_a_photograph, _folder_without_matching_names),
    ],
)
def test_mask(make: Callable[[Path], str], video: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "mask.png", tmp_path / "out"
    message = make(path)
    done = run("segment", video, "--masks", path, "--out", out, "--model", NOWHERE)
    assert_refused(done, message, out)


def test_more_than_255_colours(video: Path, tmp_path: Path) -> None:
    # 384 tiles of 4x4, each of one colour.
    tile = np.arange(16 * 24).reshape(16, 24)
    colours = np.stack([tile % 8 * 32, tile // 8 % 8 * 32, 40 + tile // 64 * 32], axis=-1).astype(np.uint8)
    path, out = tmp_path / "mask.png", tmp_path / "out"
    Image.fromarray(colours.repeat(4, axis=0).repeat(4, axis=1)).save(path)
    done = run("segment", video, "--masks", path, "--out", out, "--model", NOWHERE)
    message = f"mask {path} holds 383 colours, ids go from 1 to 255: keep fewer objects"
    assert_refused(done, message, out)


def _written(weights: Path, source: Path, mask: Path, out: Path) -> tuple[Run, np.ndarray]:
    """A run that is to work, and the labels it wrote for the first frame."""
    done = run("segment", source, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert done.status == 0, done.err
    with Image.open(min((out / "masks").iterdir())) as image:
        return done, np.array(image)


def test_antialiased_mask_is_repaired_and_said(weights: Path, video: Path, tmp_path: Path) -> None:
    truth, path = np.array([0, 90, 200], np.uint8)[labels(0)], tmp_path / "soft.png"
    small = Image.fromarray(truth).resize((61, 41), Image.Resampling.BILINEAR)
    small.resize((96, 64), Image.Resampling.BILINEAR).save(path)
    done, first = _written(weights, video, path, tmp_path / "out")
    assert "warning: mask soft.png: antialiased, resized or compressed: " in done.err
    assert "were set to the nearest real id (ids: 90, 200)" in done.err
    assert set(np.unique(first)) == {0, 90, 200}
    assert (first == truth).mean() > 0.95


def test_colours_become_ids_and_the_mapping_is_said(weights: Path, video: Path, tmp_path: Path) -> None:
    palette, path = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8), tmp_path / "rgb.png"
    Image.fromarray(palette[labels(0)]).save(path)
    done, first = _written(weights, video, path, tmp_path / "out")
    said = "warning: mask rgb.png: colours taken as object ids: #0000ff = 1, #ff0000 = 2; background #000000"
    assert said in done.err.splitlines()
    assert np.array_equal(first, np.array([0, 2, 1])[labels(0)])


@pytest.mark.parametrize("kind", ["16-bit", "alpha"])
def test_deep_and_transparent_masks(kind: str, weights: Path, video: Path, tmp_path: Path) -> None:
    path, truth = tmp_path / "odd.png", labels(0)
    if kind == "16-bit":
        Image.fromarray(truth.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(np.dstack([truth, np.full_like(truth, 255)]), mode="LA").save(path)
    done, first = _written(weights, video, path, tmp_path / "out")
    note = "16-bit values divided by 257" if kind == "16-bit" else "alpha channel ignored"
    assert f"warning: mask odd.png: {note}" in done.err.splitlines()
    assert np.array_equal(first, truth)


def test_deep_and_transparent_frames(weights: Path, mask: Path, tmp_path: Path) -> None:
    source = tmp_path / "frames"
    source.mkdir()
    Image.fromarray(np.dstack([frame(0), np.full((64, 96), 200, np.uint8)])).save(source / "1.png")
    Image.fromarray(frame(1)[..., 0].astype(np.uint16) * 257).save(source / "2.png")
    _, first = _written(weights, source, mask, tmp_path / "out")
    assert np.array_equal(first, np.array([0, 7, 200])[labels(0)])
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


# Outputs -----------------------------------------------------------------------------------------------


def test_output_is_a_file(video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    out.write_text("something of the user's")
    done = run("segment", video, "--masks", mask, "--out", out, "--model", NOWHERE)
    assert (done.status, done.err) == (BAD_INPUT, f"stremn: output {out} is a file: give a folder\n")
    assert out.read_text() == "something of the user's"


def test_output_cannot_be_written(weights: Path, video: Path, mask: Path, tmp_path: Path) -> None:
    # Below a file no folder can be made, not even by root, to whom permissions mean nothing.
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", weights, "--size", 48)
    assert_refused(done, f"cannot write {out} (Not a directory): choose a folder that you may write to", out)


# Models and settings -----------------------------------------------------------------------------------


def _truncated(path: Path, good: Path) -> str:
    path.write_bytes(good.read_bytes()[:-1000])
    return f"{path}: not a readable safetensors file ("


def _foreign(path: Path, good: Path) -> str:
    save_file({"layer.weight": torch.zeros(3)}, path)
    return f"{path}: a safetensors file of something else; use one that save_pretrained wrote"


def _pickled(path: Path, good: Path) -> str:
    torch.save({"layer.weight": torch.zeros(3)}, path)
    return f"{path}: not a readable safetensors file ("


def _empty(path: Path, good: Path) -> str:
    path.touch()
    return f"{path}: not a readable safetensors file ("


@pytest.mark.parametrize("make", [_truncated, _foreign, _pickled, _empty])
def test_weights(
    make: Callable[[Path, Path], str], weights: Path, video: Path, mask: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "bad.safetensors", tmp_path / "out"
    message = make(path, weights)
    done = run("segment", video, "--masks", mask, "--out", out, "--model", path)
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"stremn: {message}")
    assert done.err.rstrip().endswith("use one that save_pretrained wrote")
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_unknown_model(video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", "stremn-huge")
    names = ", ".join(model_names())
    message = f"unknown model 'stremn-huge': neither one of {names} nor a file that exists"
    assert_refused(done, message, out)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("policy", "best", "unknown policy 'best': choose one of learned, oldest, newest"),
        ("slots", 1, "--slots 1 is too few: at least 2, for the first and for the latest frame"),
        ("size", -8, "--size -8 is not from 0 to 8192: give pixels of the shorter side, or 0"),
        ("size", 100000, "--size 100000 is not from 0 to 8192: give pixels of the shorter side, or 0"),
        ("candidate-every", 0, "--candidate-every 0 is too few: give 1 for every frame, or more"),
        ("device", "abacus", "device 'abacus' cannot be used here: choose auto, cpu, cuda or mps"),
        ("precision", "fp4", "unknown precision 'fp4': choose auto, fp32, bf16, fp16"),
    ],
)
def test_settings(option: str, value: object, message: str, video: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("segment", video, "--masks", mask, "--out", out, "--model", NOWHERE, f"--{option}", value)
    assert done.status == BAD_INPUT
    assert done.err.startswith(f"stremn: {message}")
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_out_of_memory(video: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PyTorch says it, on a GPU and on a CPU; any other error of the kind is our fault, and shows."""
    out = tmp_path / "out"

    def run_with(error: Exception) -> Run:
        def fail(*args: object, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(options, "SegmentationSession", fail)
        return run("segment", video, "--masks", mask, "--out", out)

    said = "out of memory: give a smaller --size, fewer --slots or fewer objects"
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes"),
        MemoryError(),
    ):
        assert_refused(run_with(error), said, out)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run_with(RuntimeError("a fault of ours"))


@pytest.mark.parametrize(
    "args", [("--out", "x"), ("--masks", "x"), ("--masks", "x", "--out", "x", "--slots", "many"), ("--what",)]
)
def test_usage_errors(args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("segment", "video.mp4", *args)
    assert done.status == BAD_INPUT
    assert "Usage: stremn segment" in done.err
    assert not list(tmp_path.iterdir())


def test_first_mask_is_reused_by_no_one(tmp_path: Path, weights: Path) -> None:
    """An input that would be replaced by an output is refused, with --overwrite too."""
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    mask = write_first_mask(out / "masks" / "00000.png")
    source = write_frames(tmp_path / "frames", ["1.png"])
    done = run("segment", source, "--masks", mask, "--out", out, "--overwrite", "--model", weights)
    assert done.err == f"stremn: {mask} lies where the outputs go: choose another output folder\n"
    assert done.status == BAD_INPUT
    assert mask.exists()
