"""Bad masks: one line that names file and remedy; what can be repaired is, and that is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_runs import BAD_INPUT, NOWHERE, Run, assert_refused, run
from PIL import Image

from small_data import frame, labels, write_first_mask, write_frames
from stremn.files import write_mask


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
